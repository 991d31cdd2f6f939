"""The record of a creation under its `Idempotency-Key`."""

import json
from dataclasses import dataclass

from runtime.problems import ProblemError
from todos.domain.due_date import rfc3339
from todos.store.statements import KnownRow


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A key, and the SHA-256 of the request's body."""

    key: str
    digest: bytes


def mismatch() -> ProblemError:
    """422: the key was used for another body."""
    return ProblemError("idempotency_mismatch", "The Idempotency-Key was used with another body within 24 hours.")


def kept_answer(known: KnownRow) -> dict[str, object]:
    """The todo as it was created, from the record that is written before the database sets its version and times."""
    document: dict[str, object] = json.loads(known.answer)
    at = rfc3339(known.created_at)
    stamps = {"completed_at": at if document["completed"] else None, "created_at": at, "updated_at": at}
    return {**document, **stamps, "version": known.version}
