"""`Idempotency-Key`: a creation that was asked for twice happens once, and is answered the same."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.problems import ProblemError
from todos.domain.due_date import utc_text
from todos.store.statements import KnownRow

_NAME = b"idempotency-key"
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Request:
    """A key, and the SHA-256 of what was asked for under it."""

    key: str
    digest: bytes


def keyed_request(headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Request | None:
    """What the header makes of a request; None where there is none.

    Raises:
        ProblemError: `bad_request`, it came more than once or is not 1 to 255 visible characters.
    """
    keys = [value for name, value in headers if name == _NAME]
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise ProblemError("bad_request", "Idempotency-Key is not one key of 1 to 255 visible characters.")
    return Request(keys[0].decode(), hashlib.sha256(body).digest())


def mismatch() -> ProblemError:
    """422, the key was used for another body."""
    return ProblemError("idempotency_mismatch", "The Idempotency-Key was used with another body within 24 hours.")


def answered(known: KnownRow) -> dict[str, object]:
    """The todo as it was created, from what was kept before the database gave it a version and times."""
    document: dict[str, object] = json.loads(known.answer)
    at = utc_text(known.created_at)
    stamps = {"completed_at": at if document["completed"] else None, "created_at": at, "updated_at": at}
    return {**document, **stamps, "version": known.version}
