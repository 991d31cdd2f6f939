"""Deletes, restores and empties from the bin every todo that matches some filters."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import CTE, Delete, Insert, Integer, Text, Update, bindparam, cast, delete, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from todos.database.command import Command, Statement, compiled
from todos.database.user_session import Transaction, UserSession
from todos.schema.limits import QUOTA
from todos.schema.models import Todo, Tombstone, UserState
from todos.store import statements
from todos.store.columns import utc
from todos.store.list_query import Filters, session_for
from todos.store.list_statements import Filter, filter_conditions
from todos.store.repository import quota_used_up
from todos.store.sequence import next_numbers


class Affected(NamedTuple):
    """How many todos were changed, and the moment of it, in UTC."""

    affected: int
    at: datetime


class _BulkRow(NamedTuple):
    matched: int
    changed: int
    at: datetime


async def delete_all(scope: UserSession, filters: Filters) -> Affected:
    """Delete so that it can be undone; each takes a number of its own, in the order of their last changes."""
    return await _change_all(scope, filters, delete_statement)


async def empty_bin(scope: UserSession, filters: Filters) -> Affected:
    """Delete the deleted for good: of each stays its tombstone, under a number of its own."""
    return await _change_all(scope, filters, empty_statement)


async def restore_all(scope: UserSession, filters: Filters) -> Affected:
    """Undo the deletions of all, or of none where the quota does not allow it. Raises `quota`."""
    return await _change_all(scope, filters, restore_statement)


async def _change_all(
    scope: UserSession, filters: Filters, statement: Callable[[frozenset[Filter]], Statement[_BulkRow]]
) -> Affected:
    change = Command(statement(filters.names), filters.values)

    async def work(transaction: Transaction) -> _BulkRow:
        await transaction.commit(Command(statements.lock_state), change)
        done = change.rows[0]
        if done.changed < done.matched:
            raise quota_used_up()
        return done

    done = await session_for(scope, filters.names).write(work)
    return Affected(done.changed, done.at.replace(tzinfo=UTC))


_live = col(Todo.deleted_at).is_(None)
_deleted = col(Todo.deleted_at).is_not(None)


@lru_cache(maxsize=64)
def delete_statement(filters: frozenset[Filter]) -> Statement[_BulkRow]:
    """Run after `lock_state` in the same transaction, as the others; values of the filters are parameters."""
    matched = _matched(_live, filters)
    state = next_numbers(select(matched).exists(), count=_count(matched), live=-_count(matched))
    at = statements.not_before_creation(state.c.at)
    change = (
        update(Todo)
        .where(statements.of_user, _live, col(Todo.id) == matched.c.id)
        .values(deleted_at=at, updated_at=at, version=state.c.before + matched.c.turn)
    )
    return _bulk(matched, state, change.returning(col(Todo.id)))


@lru_cache(maxsize=64)
def restore_statement(filters: frozenset[Filter]) -> Statement[_BulkRow]:
    """Changes nothing where all together would exceed the quota."""
    matched = _matched(_deleted, filters)
    total = _count(matched)
    fits = col(UserState.live_count) + total <= statements.number(QUOTA)
    state = next_numbers(fits, select(matched).exists(), count=total, live=total)
    change = (
        update(Todo)
        .where(statements.of_user, _deleted, col(Todo.id) == matched.c.id)
        .values(
            deleted_at=null(),
            updated_at=statements.not_before_creation(state.c.at),
            version=state.c.before + matched.c.turn,
        )
    )
    return _bulk(matched, state, change.returning(col(Todo.id)))


@lru_cache(maxsize=64)
def empty_statement(filters: frozenset[Filter]) -> Statement[_BulkRow]:
    """Moves each to the tombstones, where one of an earlier todo under the same id may be."""
    matched = _matched(_deleted, filters)
    state = next_numbers(select(matched).exists(), count=_count(matched))
    gone = (
        delete(Todo)
        .where(statements.of_user, _deleted, col(Todo.id) == matched.c.id)
        .returning(col(Todo.id), col(Todo.deleted_at))
        .cte("gone")
    )
    row: dict[str, ColumnElement[Any]] = {
        "user_id": bindparam("user_id", type_=Text),
        "id": gone.c.id,
        "deleted_at": gone.c.deleted_at,
        "version": state.c.before + matched.c.turn,
    }
    source = select(*(value.label(name) for name, value in row.items())).where(gone.c.id == matched.c.id)
    keep = insert(Tombstone).from_select(list(row), source)
    kept = keep.on_conflict_do_update(
        index_elements=["user_id", "id"],
        set_={name: keep.excluded[name] for name in ("deleted_at", "version")},
    )
    return _bulk(matched, state, kept.returning(col(Tombstone.id)))


def _matched(condition: ColumnElement[bool], filters: frozenset[Filter]) -> CTE:
    turn = func.row_number().over(order_by=[col(Todo.version), col(Todo.id)])
    return (
        select(col(Todo.id), turn.label("turn"))
        .where(statements.of_user, condition, *filter_conditions(filters))
        .cte("matched")
    )


def _count(rows: CTE) -> ColumnElement[int]:
    return select(cast(func.count(), Integer)).select_from(rows).scalar_subquery()


def _bulk(matched: CTE, state: CTE, change: Update | Delete | Insert) -> Statement[_BulkRow]:
    changed = change.cte("changed")
    at = func.coalesce(select(state.c.at).scalar_subquery(), func.clock_timestamp())
    return compiled(select(_count(matched), _count(changed), utc(at)), _BulkRow)
