"""What has changed since a client's last request, deletions included."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import BigInteger, Integer, bindparam, func, literal_column, or_, select, true, union_all
from sqlmodel import col

from runtime.problems import ProblemError
from todos.database.command import Command, Statement, compiled
from todos.database.user_session import UserSession
from todos.schema.models import Todo, Tombstone, UserState
from todos.store import statements
from todos.store.columns import todo_table, tombstone_table
from todos.store.json_columns import ShownRow, shown, shown_tombstone
from todos.store.sequence import state_of_user
from todos.store.sync_position import SyncPosition


@dataclass(frozen=True, slots=True)
class ChangesQuery:
    """The parameters of `GET /v1/changes`."""

    since: SyncPosition
    limit: int


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of changes by their numbers, and where the next one begins."""

    rows: Sequence[ShownRow]
    next_since: SyncPosition
    has_more: bool


class ChangedRow(NamedTuple):
    """The user's latest number and the highest purged one; beside them a todo, null where there is none."""

    seq: int
    purged_seq: int
    todo: ShownRow | None


async def read_changes(scope: UserSession, query: ChangesQuery) -> Changes:
    """One page, as of one moment; the numbers of a user commit in order, so nothing is skipped.

    Raises:
        ProblemError: `sync_reset`, tombstones after `since` are purged, or it is from before an erasure.
    """
    since = query.since
    values = {"number": since.number, "began": since.began, "limit": query.limit + 1}
    changed = await scope.read(Command(read, values))
    seq, purged_seq = (changed[0].seq, changed[0].purged_seq) if changed else (0, 0)
    if since.number and not purged_seq <= since.needs <= seq:
        raise sync_reset()
    found = [row.todo for row in changed if row.todo is not None]
    page = found[: query.limit]
    if len(found) == len(page):
        return Changes(page, SyncPosition(seq), has_more=False)
    number, began = page[-1].version, since.began if since.number else seq
    return Changes(page, SyncPosition(number, began if began and number < began else None), has_more=True)


def sync_reset() -> ProblemError:
    return ProblemError("sync_reset", "This sync token has expired; restart with a full sync, without since.")


def _read() -> Statement[ChangedRow]:
    """Live todos after `number`; tombstones too, after `began`, which is now where it is null at the beginning."""
    number, began = bindparam("number", type_=BigInteger), bindparam("began", type_=BigInteger)
    # a later sync needs every tombstone after `number`, an initial one those since it began
    first_needed = func.coalesce(began, func.nullif(number, literal_column("0", BigInteger)), col(UserState.seq))
    limit = bindparam("limit", type_=Integer)
    columns = statements.numbered(shown(todo_table))
    todos = (
        select(col(Todo.version).label("number"), *columns)
        .where(
            statements.of_user,
            col(Todo.version) > number,
            or_(col(Todo.deleted_at).is_(None), col(Todo.version) > first_needed),
        )
        .order_by(col(Todo.version))
        .limit(limit)
        .correlate(UserState)
    )
    tombstones = (
        select(col(Tombstone.version).label("number"), *statements.numbered(shown_tombstone(tombstone_table)))
        .where(statements.tombstone_of_user, col(Tombstone.version) > number, col(Tombstone.version) > first_needed)
        .order_by(col(Tombstone.version))
        .limit(limit)
        .correlate(UserState)
    )
    both = union_all(todos, tombstones).subquery("both")
    page = select(both).order_by(both.c.number).limit(limit).lateral("page")
    changed = (
        select(col(UserState.seq), col(UserState.purged_seq), *(page.c[column.name] for column in columns))
        .select_from(UserState)
        .outerjoin(page, true())
        .where(state_of_user)
        .order_by(page.c.number)
    )
    return compiled(changed, _changed_row)


def _changed_row(seq: int, purged_seq: int, *columns: object) -> ChangedRow:
    return ChangedRow(seq, purged_seq, ShownRow._make(columns) if columns[0] is not None else None)


read = _read()
