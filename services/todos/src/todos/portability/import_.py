"""Imports the JSON that an export writes: every todo under its id, or none.

An existing todo is replaced as by a PUT, a deleted one is restored, and nothing is completed: a recurring todo that is
imported as completed gets no successor.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
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

from todos.database.command import Command, Runnable, Statement, Value, compiled
from todos.database.user_session import Transaction, UserSession
from todos.domain.due_date import rfc3339
from todos.schema.limits import QUOTA
from todos.schema.models import Timestamp, Todo
from todos.store import statements
from todos.store.columns import PARAMETERS, utc
from todos.store.repository import locked, quota_used_up
from todos.store.sequence import next_numbers

PIECE_ITEMS = 500
"""Of a statement: it ends long before its time-out, and holds the event loop for a millisecond or two."""
PIECE_CHARACTERS = 128 * 1024

_TRUE = literal_column("true", Boolean)
_IMPORTED: dict[str, TypeEngine[Any]] = {"id": Uuid(), **{name: value.type for name, value in PARAMETERS.items()}}


class Imported(NamedTuple):
    """How many todos were created, and how many were replaced, deleted ones included."""

    created: int
    updated: int


class _PieceRow(NamedTuple):
    created: int
    updated: int
    added: int
    live_count: int
    at: datetime


async def put_all(scope: UserSession, items: Sequence[Mapping[str, Value]]) -> Imported:
    """Write them in one transaction, a piece with each round trip; each takes a number, in their order.

    Raises:
        ProblemError: `quota`, the user would hold too many; `database_unavailable`, `database_timeout`.
    """

    async def work(transaction: Transaction) -> Imported:
        state = Command(statements.lock_state)
        opening: list[Runnable] = [Command(statements.begin_state), state]
        imported, at, added, after = Imported(0, 0), None, 0, len(items)
        for piece, count in pieces(items):
            after -= count
            write = Command(put_piece, {"items": piece, "after": after, "at": at})
            await transaction.send(*opening, write)
            locked(state)
            opening, done = [], write.rows[0]
            added += done.added
            if added > 0 and done.live_count > QUOTA:
                raise quota_used_up()
            imported = Imported(imported.created + done.created, imported.updated + done.updated)
            at = done.at.replace(tzinfo=UTC)
        await transaction.commit(*opening)
        return imported

    return await scope.write(work)


def pieces(items: Sequence[Mapping[str, Value]]) -> Iterator[tuple[str, int]]:
    """JSON arrays of the items in their order, and how many each holds: at most `PIECE_ITEMS`.

    An array ends with the item that makes it longer than `PIECE_CHARACTERS`.
    """
    written: list[str] = []
    length = 0
    for item in items:
        written.append(_to_json({**item, "position": len(written) + 1}))
        length += len(written[-1])
        if len(written) == PIECE_ITEMS or length > PIECE_CHARACTERS:
            yield f"[{','.join(written)}]", len(written)
            written, length = [], 0
    if written:
        yield f"[{','.join(written)}]", len(written)


_to_json = json.JSONEncoder(default=rfc3339, ensure_ascii=False, separators=(",", ":")).encode


def _put_piece() -> Statement[_PieceRow]:
    """Run after `lock_state`: the row lock makes this statement's snapshot see every earlier commit of the user.

    `after` is how many items the pieces after this one have, `at` the moment of the import, null in the first piece.
    """
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
    at = func.coalesce(bindparam("at", type_=Timestamp), state.c.at)
    # created one after another, so that the default order of the list is that of the import
    age = (bindparam("after", type_=Integer) + total - item.c.position) * literal_column("interval '1 microsecond'")
    row: dict[str, ColumnElement[Any]] = {
        "user_id": bindparam("user_id", type_=Text),
        **{name: item.c[name] for name in _IMPORTED},
        "completed_at": case((item.c.completed, at), else_=null()),
        "created_at": at - age,
        "updated_at": at,
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
    done = select(total - known, known, total - live, state.c.live_count, utc(at)).add_cte(written)
    return compiled(done, _PieceRow)


put_piece = _put_piece()
