"""Every statement on users' data, compiled once.

Each binds `user_id`: the first of three layers that keep users apart.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    Boolean,
    DateTime,
    Insert,
    Integer,
    Interval,
    Label,
    LargeBinary,
    SQLColumnExpression,
    Text,
    Update,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from todos.database.command import Statement, compiled, nothing
from todos.schema.limits import IDEMPOTENCY_HOURS, QUOTA
from todos.schema.models import Idempotency, Todo, Tombstone, UserState
from todos.store.columns import PARAMETERS, TODO_ROW, TodoRow, todo_row, todo_table, utc
from todos.store.json_columns import ShownRow, shown
from todos.store.sequence import FIRST_NUMBER, ONE, next_numbers, state_of_user


class StateRow(NamedTuple):
    """The row of `user_state`."""

    live_count: int


class KnownRow(NamedTuple):
    """The record of a creation under its key; its time is a naive datetime in UTC."""

    digest: bytes
    answer: str
    version: int
    created_at: datetime


class SuccessorRow(NamedTuple):
    """The live todo that followed another, and whether it is as it was made."""

    id: str
    is_as_made: bool


class DeletedRow(NamedTuple):
    """The todo that a delete found, and the number it took; null where a precondition prevented it."""

    found_version: int
    new_version: int | None


def not_before_creation(at: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """When a todo was changed; never before its creation, even if the clock was set back."""
    return func.greatest(at, col(Todo.created_at))


def numbered(columns: Iterable[SQLColumnExpression[object]]) -> list[Label[Any]]:
    """The columns under distinct names, to be selected from a subquery."""
    return [column.label(f"c{number}") for number, column in enumerate(columns)]


def number(constant: int) -> ColumnElement[int]:
    """A constant in a statement."""
    return literal_column(str(constant), Integer)


of_user = col(Todo.user_id) == bindparam("user_id", type_=Text)
_this_todo = col(Todo.id) == bindparam("id", type_=Uuid)
_live = col(Todo.deleted_at).is_(None)

tombstone_of_user = col(Tombstone.user_id) == bindparam("user_id", type_=Text)
record_of_user = col(Idempotency.user_id) == bindparam("user_id", type_=Text)
_below_quota = col(UserState.live_count) < number(QUOTA)


def _find() -> Statement[TodoRow]:
    return compiled(select(*TODO_ROW).where(of_user, _this_todo), todo_row)


def _find_successor() -> Statement[SuccessorRow]:
    following = aliased(Todo)
    follows = and_(
        col(following.user_id) == bindparam("user_id", type_=Text),
        col(following.id) == col(Todo.next_id),
        col(following.deleted_at).is_(None),
    )
    is_as_made = col(following.version).is_not_distinct_from(col(Todo.next_version))
    found = select(cast(col(following.id), Text), is_as_made).select_from(Todo).join(following, follows)
    return compiled(found.where(of_user, _this_todo), SuccessorRow)


def _show() -> Statement[ShownRow]:
    return compiled(select(*shown(todo_table)).where(of_user, _this_todo), ShownRow)


def _get() -> Statement[ShownRow]:
    return compiled(select(*shown(todo_table)).where(of_user, _this_todo, _live), ShownRow)


def _begin_state() -> Statement[None]:
    """Inserts a new user's row, so that there is one to lock; the number before the first is never used."""
    new = insert(UserState).values(
        user_id=bindparam("user_id", type_=Text),
        seq=FIRST_NUMBER - ONE,
        live_count=literal_column("0"),
        purged_seq=FIRST_NUMBER - ONE,
    )
    return compiled(new.on_conflict_do_nothing(), nothing)


def _lock_state() -> Statement[StateRow]:
    return compiled(select(col(UserState.live_count)).where(state_of_user).with_for_update(), StateRow)


def _create() -> Statement[ShownRow]:
    """Takes the next number, counts and inserts; returns no row if the quota is used up."""
    first = insert(UserState).values(
        user_id=bindparam("user_id", type_=Text),
        seq=FIRST_NUMBER,
        live_count=ONE,
        purged_seq=FIRST_NUMBER - ONE,
    )
    state = (
        first.on_conflict_do_update(
            index_elements=["user_id"],
            set_={"seq": col(UserState.seq) + ONE, "live_count": col(UserState.live_count) + ONE},
            where=_below_quota,
        )
        .returning(col(UserState.seq), func.clock_timestamp().label("at"))
        .cte("state")
    )
    return _showing(_insert_todo(state))


def _showing(change: Insert | Update) -> Statement[ShownRow]:
    changed = change.returning(*todo_table.c).cte("changed")
    return compiled(select(*shown(changed)), ShownRow)


def _insert_todo(state: CTE, **internal: ColumnElement[Any]) -> Insert:
    row: dict[str, ColumnElement[Any]] = {
        "user_id": bindparam("user_id", type_=Text),
        "id": bindparam("id", type_=Uuid),
        **PARAMETERS,
        "completed_at": case((PARAMETERS["completed"], state.c.at), else_=null()),
        "created_at": state.c.at,
        "updated_at": state.c.at,
        "version": state.c.seq,
        **internal,
    }
    return insert(Todo).from_select(list(row), select(*(value.label(name) for name, value in row.items())))


def _create_once() -> Statement[KnownRow]:
    """Finds the record of the key, or creates the todo and the record; returns no row if the quota is used up.

    Run after `lock_state` in the same transaction: the row lock makes this statement's snapshot see every earlier
    commit of the user.
    """
    columns = (
        col(Idempotency.digest),
        col(Idempotency.answer),
        col(Idempotency.version),
        utc(col(Idempotency.created_at)).label("created_at"),
    )
    known = (
        select(*columns)
        .where(
            record_of_user,
            col(Idempotency.key) == bindparam("key", type_=Text),
            col(Idempotency.created_at)
            > func.clock_timestamp() - literal_column(f"interval '{IDEMPOTENCY_HOURS} hours'", Interval),
        )
        .cte("known")
    )
    state = next_numbers(_below_quota, ~select(known).exists(), live=ONE)
    made = _insert_todo(state).returning(col(Todo.id)).cte("made")
    record: dict[str, ColumnElement[Any]] = {
        "user_id": bindparam("user_id", type_=Text),
        "key": bindparam("key", type_=Text),
        "digest": bindparam("digest", type_=LargeBinary),
        "answer": bindparam("answer", type_=Text),
        "version": state.c.seq,
        "created_at": state.c.at,
    }
    keep = insert(Idempotency).from_select(list(record), select(*(value.label(name) for name, value in record.items())))
    kept = (
        keep.on_conflict_do_update(
            index_elements=["user_id", "key"],
            set_={name: keep.excluded[name] for name in ("digest", "answer", "version", "created_at")},
        )
        .returning(*columns)
        .cte("kept")
    )
    return compiled(select(known).add_cte(made).union_all(select(kept)), KnownRow)


def _restore() -> Statement[None]:
    """Undoes a deletion if the quota allows it; run after `lock_state`."""
    gone = [of_user, _this_todo, col(Todo.deleted_at).is_not(None)]
    state = next_numbers(_below_quota, select(col(Todo.id)).where(*gone).exists(), live=ONE)
    back = (
        update(Todo)
        .where(*gone)
        .values(deleted_at=null(), updated_at=not_before_creation(state.c.at), version=state.c.seq)
    )
    return compiled(back, nothing)


def _succeed() -> Statement[None]:
    """As `_create`, without a quota; run after `lock_state`."""
    state = next_numbers(live=ONE)
    return compiled(_insert_todo(state, due_wall=bindparam("due_wall", type_=DateTime)), nothing)


def _replace() -> Statement[ShownRow]:
    """Takes the next number and writes every field that a client sets; run after `lock_state`.

    A `next_id` that is new is of the todo that takes the number after it.
    """
    state = next_numbers()
    next_id = bindparam("next_id", type_=Uuid)
    next_version = case(
        (col(Todo.next_id).is_not_distinct_from(next_id), col(Todo.next_version)),
        (next_id.is_not(None), state.c.seq + ONE),
        else_=null(),
    )
    completed_at = case((PARAMETERS["completed"], func.coalesce(col(Todo.completed_at), state.c.at)), else_=null())
    is_due_as_before = and_(
        col(Todo.due_at).is_not_distinct_from(PARAMETERS["due_at"]), col(Todo.timezone) == PARAMETERS["timezone"]
    )
    change = (
        update(Todo)
        .where(of_user, _this_todo, _live)
        .values(
            **PARAMETERS,
            completed_at=completed_at,
            updated_at=not_before_creation(state.c.at),
            next_id=next_id,
            next_version=next_version,
            version=state.c.seq,
            due_wall=case((is_due_as_before, col(Todo.due_wall)), else_=null()),
        )
    )
    return _showing(change)


def _delete() -> Statement[DeletedRow]:
    """Marks the todo as deleted if its version is in `versions`, or any version if `any_version`.

    Run after `lock_state` in the same transaction: the row lock makes this statement's snapshot see every earlier
    commit of the user.
    """
    found = select(col(Todo.version)).where(of_user, _this_todo, _live).cte("found")
    expected = or_(
        bindparam("any_version", type_=Boolean),
        found.c.version == any_(bindparam("versions", type_=ARRAY(BigInteger))),
    )
    state = next_numbers(select(found).where(expected).exists(), live=-ONE)
    gone = (
        update(Todo)
        .where(of_user, _this_todo, _live)
        .values(
            deleted_at=not_before_creation(state.c.at),
            updated_at=not_before_creation(state.c.at),
            version=state.c.seq,
        )
        .returning(col(Todo.version))
        .cte("gone")
    )
    return compiled(select(found.c.version, select(gone.c.version).scalar_subquery()), DeletedRow)


find = _find()
"""The todo, deleted or not."""
find_successor = _find_successor()
"""The live todo that `next_id` of this one names."""
show = _show()
"""As `find`, as JSON."""
get = _get()
"""The todo, unless it is deleted."""
begin_state = _begin_state()
lock_state = _lock_state()
create = _create()
create_once = _create_once()
restore = _restore()
succeed = _succeed()
replace = _replace()
delete = _delete()
