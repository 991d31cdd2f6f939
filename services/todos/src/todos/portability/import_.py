"""The JSON that an export writes, taken back: every todo of it under its id, or none.

An id that is there is replaced as a PUT would, one that was deleted is live again, and nothing is completed by it:
a recurring todo that comes in as done has no successor made.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Integer,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeEngine
from sqlmodel import col

from todos.database.command import Command, Statement, Value, compiled
from todos.database.user_session import Transaction, UserSession
from todos.domain.due_date import rfc3339
from todos.schema.limits import QUOTA
from todos.schema.models import Todo
from todos.store import statements
from todos.store.columns import PARAMETERS
from todos.store.repository import locked, quota_used_up
from todos.store.sequence import next_numbers

_TRUE = literal_column("true", Boolean)
_IMPORTED: dict[str, TypeEngine[Any]] = {"id": Uuid(), **{name: value.type for name, value in PARAMETERS.items()}}


class Imported(NamedTuple):
    """How many todos came new, and how many were there, deleted ones included."""

    created: int
    updated: int


class _ImportRow(NamedTuple):
    created: int
    updated: int
    added: int
    live_count: int


async def put_all(scope: UserSession, items: Sequence[Mapping[str, Value]]) -> Imported:
    """Write them in one transaction of two round trips; each takes a number, in their order.

    Raises:
        ProblemError: `quota`, the user would hold too many; `database_unavailable`.
    """
    placed = [{**item, "position": position} for position, item in enumerate(items, 1)]
    text = json.dumps(placed, default=rfc3339, ensure_ascii=False, separators=(",", ":"))

    async def work(transaction: Transaction) -> Imported:
        write = Command(put_all_statement, {"items": text})
        state = Command(statements.lock_state)
        await transaction.send(Command(statements.begin_state), state, write)
        locked(state)
        done = write.rows[0]
        if done.added > 0 and done.live_count > QUOTA:
            raise quota_used_up()
        await transaction.commit()
        return Imported(done.created, done.updated)

    return await scope.write(work)


def _put_all() -> Statement[_ImportRow]:
    """The user's state is locked by a statement before, so that the one snapshot of this one is the latest."""
    given = (
        func.jsonb_to_recordset(cast(bindparam("items", type_=Text), JSONB))
        .table_valued(column("position", Integer), *(column(name, kind) for name, kind in _IMPORTED.items()))
        .render_derived(name="given", with_types=True)
    )
    item = select(*given.c).cte("item")
    before = (
        select(col(Todo.id), col(Todo.deleted_at).is_(None).label("is_live"))
        .where(statements.of_user, col(Todo.id).in_(select(item.c.id)))
        .cte("before")
    )
    total = select(cast(func.count(), Integer)).select_from(item).scalar_subquery()
    known = select(cast(func.count(), Integer)).select_from(before).scalar_subquery()
    live = select(cast(func.count(), Integer)).select_from(before).where(before.c.is_live).scalar_subquery()
    state = next_numbers(count=total, live=total - live)
    # created one after another, so that the default order of the list is that of the import
    age = (total - item.c.position) * literal_column("interval '1 microsecond'")
    row: dict[str, ColumnElement[Any]] = {
        "user_id": bindparam("user_id", type_=Text),
        **{name: item.c[name] for name in _IMPORTED},
        "completed_at": case((item.c.completed, state.c.at), else_=null()),
        "created_at": state.c.at - age,
        "updated_at": state.c.at,
        "version": state.c.before + item.c.position,
    }
    source = select(*(value.label(name) for name, value in row.items())).select_from(item.join(state, _TRUE))
    new = insert(Todo).from_select(list(row), source)
    was_due = and_(
        col(Todo.due_at).is_not_distinct_from(new.excluded.due_at), col(Todo.timezone) == new.excluded.timezone
    )
    written = (
        new.on_conflict_do_update(
            index_elements=["user_id", "id"],
            set_={
                **{name: new.excluded[name] for name in PARAMETERS},
                "completed_at": case(
                    (new.excluded.completed, func.coalesce(col(Todo.completed_at), new.excluded.completed_at)),
                    else_=null(),
                ),
                "updated_at": new.excluded.updated_at,
                "deleted_at": null(),
                "version": new.excluded.version,
                "due_wall": case((was_due, col(Todo.due_wall)), else_=null()),
            },
        )
        .returning(col(Todo.id))
        .cte("written")
    )
    done = select(total - known, known, total - live, state.c.live_count).add_cte(written)
    return compiled(done, _ImportRow)


put_all_statement = _put_all()
