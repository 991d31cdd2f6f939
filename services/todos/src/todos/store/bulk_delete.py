"""Deletes every todo that matches some filters, so that it can be undone."""

from functools import lru_cache

from sqlalchemy import Integer, cast, func, literal_column, select, update
from sqlmodel import col

from todos.database.command import Command, Statement, compiled
from todos.database.user_session import Transaction, UserSession
from todos.schema.models import Todo
from todos.store import statements
from todos.store.list_query import Filters, session_for
from todos.store.list_statements import Filter, filter_conditions
from todos.store.sequence import next_numbers


async def delete_all(scope: UserSession, filters: Filters) -> int:
    """How many were deleted; each takes a number of its own, in the order of their last changes."""
    delete = Command(delete_statement(filters.names), filters.values)

    async def work(transaction: Transaction) -> None:
        await transaction.commit(Command(statements.lock_state), delete)

    await session_for(scope, filters.names).write(work)
    return delete.rows[0]


@lru_cache(maxsize=64)
def delete_statement(filters: frozenset[Filter]) -> Statement[int]:
    """Run after `lock_state` in the same transaction; values of the filters are parameters."""
    live = [statements.of_user, col(Todo.deleted_at).is_(None)]
    turn = func.row_number().over(order_by=[col(Todo.version), col(Todo.id)])
    to_delete = select(col(Todo.id), turn.label("turn")).where(*live, *filter_conditions(filters)).cte("to_delete")
    total = select(cast(func.count(), Integer)).select_from(to_delete).scalar_subquery()
    state = next_numbers(select(to_delete).exists(), count=total, live=-total)
    at = statements.not_before_creation(state.c.at)
    gone = (
        update(Todo)
        .where(*live, col(Todo.id) == to_delete.c.id)
        .values(deleted_at=at, updated_at=at, version=state.c.before + to_delete.c.turn)
        .returning(literal_column("1", Integer).label("one"))
        .cte("gone")
    )
    return compiled(select(func.count()).select_from(gone), int)
