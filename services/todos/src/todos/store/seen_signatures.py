"""Accepts a signed write once, across replicas and restarts."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import LargeBinary, Text, bindparam, delete, insert
from sqlmodel import col

from todos.database.command import Command, Statement, Value, compiled, nothing
from todos.schema.limits import SIGNATURE_MARGIN_SECONDS
from todos.schema.models import SeenSignature, Timestamp


class Signature(NamedTuple):
    """A signature that is accepted once: 32 bytes, and the Unix second when it expires."""

    proof: bytes
    expires: int


def remember(signature: Signature) -> Command[None]:
    """Records the signature and deletes the user's expired ones; fails on the primary key if it is recorded already."""
    expires = datetime.fromtimestamp(signature.expires, UTC)
    forgotten_before = datetime.now(UTC) - timedelta(seconds=SIGNATURE_MARGIN_SECONDS)
    values: dict[str, Value] = {"proof": signature.proof, "expires": expires, "forgotten_before": forgotten_before}
    return Command(remember_statement, values)


def _remember() -> Statement[None]:
    user_id = bindparam("user_id", type_=Text)
    expired = (
        delete(SeenSignature)
        .where(
            col(SeenSignature.user_id) == user_id,
            col(SeenSignature.expires) < bindparam("forgotten_before", type_=Timestamp),
        )
        .cte("expired")
    )
    seen = insert(SeenSignature).values(
        user_id=user_id,
        proof=bindparam("proof", type_=LargeBinary),
        expires=bindparam("expires", type_=Timestamp),
    )
    return compiled(seen.add_cte(expired), nothing)


remember_statement = _remember()
