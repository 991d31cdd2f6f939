"""Erases a user: no data of theirs stays, and no number of theirs is used again."""

from sqlalchemy import delete, update
from sqlmodel import col

from todos.database.command import Command, Statement, compiled, nothing
from todos.database.user_session import Transaction, UserSession
from todos.schema.models import Erasure, Idempotency, Todo, Tombstone, UserState
from todos.store import statements
from todos.store.sequence import state_of_user


async def erase(scope: UserSession) -> None:
    """Delete every row of the user, in one transaction."""

    async def work(transaction: Transaction) -> None:
        await transaction.commit(
            Command(statements.lock_state),
            Command(erase_todos),
            Command(erase_tombstones),
            Command(erase_records),
            Command(raise_highest),
            Command(erase_state),
        )

    await scope.write(work)


def _raise_highest() -> Statement[None]:
    """New users start above it: numbers can run ahead of the clock, and the clock can be set back."""
    change = (
        update(Erasure)
        .where(state_of_user, col(Erasure.highest) < col(UserState.seq))
        .values(highest=col(UserState.seq))
    )
    return compiled(change, nothing)


erase_todos = compiled(delete(Todo).where(statements.of_user), nothing)
erase_tombstones = compiled(delete(Tombstone).where(statements.tombstone_of_user), nothing)
erase_records = compiled(delete(Idempotency).where(statements.record_of_user), nothing)
raise_highest = _raise_highest()
erase_state = compiled(delete(UserState).where(state_of_user), nothing)
