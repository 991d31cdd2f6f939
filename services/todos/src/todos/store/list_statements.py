"""The list's statements: one for each shape of filters, sort and cursor."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import (
    ARRAY,
    Boolean,
    Integer,
    Label,
    SmallInteger,
    SQLColumnExpression,
    Text,
    Uuid,
    any_,
    asc,
    bindparam,
    case,
    desc,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import LateralFromClause
from sqlalchemy.types import TypeEngine
from sqlmodel import col

from todos.database.command import Statement, compiled
from todos.schema.models import Timestamp, Todo, UserState
from todos.store import statements
from todos.store.columns import TODO_ROW, TodoRow, todo_row, todo_table, utc
from todos.store.json_columns import ShownRow, shown

SortField = Literal["created_at", "updated_at", "due_date", "priority", "title", "order"]
SORT_FIELDS: tuple[SortField, ...] = get_args(SortField)
Filter = Literal["completed", "priority", "tag", "due_after", "due_before", "deleted_after", "q"]

type SortKey = str | int | datetime | None


class Sort(NamedTuple):
    """The field, and whether its order, ties by id included, is reversed."""

    field: SortField
    descending: bool


class ListedRow[Row](NamedTuple):
    """The user's latest number, and beside it a todo with its sort key; both null where none is listed."""

    seq: int
    key: SortKey
    todo: Row | None


@dataclass(frozen=True)
class Shape:
    """What determines the text of a statement; the values are its parameters."""

    sort: Sort
    filters: frozenset[Filter]
    deleted: bool
    after_cursor: bool


def _due_key(*, descending: bool) -> ColumnElement[datetime]:
    """Null dates come last in both orders: the very expression of the index, so that the planner uses it."""
    last = literal_column("'-infinity'::timestamptz" if descending else "'infinity'::timestamptz", Timestamp)
    return case((col(Todo.due_at).is_(None), last), else_=col(Todo.due_at))


def sort_key(sort: Sort) -> SQLColumnExpression[object]:
    """The expression that the list is sorted by, as the index of that sort has it."""
    columns: dict[SortField, Callable[[], SQLColumnExpression[object]]] = {
        "created_at": lambda: col(Todo.created_at),
        "updated_at": lambda: col(Todo.updated_at),
        "due_date": lambda: _due_key(descending=sort.descending),
        "priority": lambda: col(Todo.priority),
        "title": lambda: col(Todo.title_key),
        "order": lambda: col(Todo.order),
    }
    return columns[sort.field]()


def _readable_key(field: SortField) -> SQLColumnExpression[object]:
    match field:
        case "created_at" | "updated_at":
            return utc(col(getattr(Todo, field)))
        case "due_date":
            return utc(col(Todo.due_at))
        case "priority" | "title" | "order":
            return sort_key(Sort(field, descending=False))


_KEY_TYPES: dict[SortField, TypeEngine[Any]] = {
    "created_at": Timestamp,
    "updated_at": Timestamp,
    "due_date": Timestamp,
    "priority": SmallInteger(),
    "title": Text(),
    "order": Integer(),
}
_SHORT = 16
_CONDITIONS: dict[Filter, Callable[[], ColumnElement[bool]]] = {
    "completed": lambda: col(Todo.completed) == bindparam("completed", type_=Boolean),
    "priority": lambda: col(Todo.priority) == any_(bindparam("priority", type_=ARRAY(SmallInteger))),
    "tag": lambda: col(Todo.tags).op("@>")(bindparam("tag", type_=ARRAY(Text))),
    "due_after": lambda: col(Todo.due_at) >= bindparam("due_after", type_=Timestamp),
    "due_before": lambda: col(Todo.due_at) < bindparam("due_before", type_=Timestamp),
    "deleted_after": lambda: col(Todo.deleted_at) >= bindparam("deleted_after", type_=Timestamp),
    "q": lambda: _occurs(
        func.lower(bindparam("q", type_=Text)),
        func.lower(col(Todo.title) + literal_column("'\n'", Text) + col(Todo.description)),
    ),
}


def _occurs(part: ColumnElement[str], text: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether `part` stands somewhere in `text`, in time that is linear in `text` whatever the two are.

    The time of LIKE and of strpos is the product of both lengths where they are chosen for that: strpos is the fastest
    for short parts, and the automaton of a regular expression, here a literal one, is for all others.
    """
    is_short = func.length(part) <= literal_column(str(_SHORT), Integer)
    found = func.strpos(text, part) > literal_column("0", Integer)
    return case((is_short, found), else_=func.regexp_like(text, literal_column("'***='", Text) + part))


def filter_conditions(filters: frozenset[Filter]) -> list[ColumnElement[bool]]:
    """The condition of each filter; its value is a parameter of the same name."""
    return [_CONDITIONS[name]() for name in sorted(filters)]


@lru_cache(maxsize=1024)
def list_statement(shape: Shape) -> Statement[ListedRow[ShownRow]]:
    """One page as JSON. Parameters: `limit`, those of the filters, and after a cursor `after_key`, `after_id`."""
    return _listing(shape, shown(todo_table), ShownRow)


@lru_cache(maxsize=1024)
def batch_statement(shape: Shape) -> Statement[ListedRow[TodoRow]]:
    """As `list_statement`, as columns for another format."""
    return _listing(shape, TODO_ROW, todo_row)


def _listing[Row](
    shape: Shape, wanted: Iterable[SQLColumnExpression[object]], make_row: Callable[..., Row]
) -> Statement[ListedRow[Row]]:
    """A page and the user's latest number, as of one moment; a user never seen has no row at all."""
    columns = statements.numbered(wanted)
    page = _page(shape, columns)
    order = desc if shape.sort.descending else asc
    # the join keeps the page's order today; only the outer ORDER BY promises it
    listed = (
        select(col(UserState.seq), page.c.key, *(page.c[column.name] for column in columns))
        .select_from(UserState)
        .outerjoin(page, true())
        .where(col(UserState.user_id) == bindparam("user_id", type_=Text))
        .order_by(order(page.c.sort_key), order(page.c.sort_id))
    )

    def listed_row(seq: int, key: SortKey, *found: object) -> ListedRow[Row]:
        return ListedRow(seq, key, make_row(*found) if found[0] is not None else None)

    return compiled(listed, listed_row)


def _page(shape: Shape, columns: Iterable[Label[Any]]) -> LateralFromClause:
    key = sort_key(shape.sort)
    order = desc if shape.sort.descending else asc
    conditions = [
        statements.of_user,
        col(Todo.deleted_at).is_not(None) if shape.deleted else col(Todo.deleted_at).is_(None),
        *filter_conditions(shape.filters),
    ]
    if shape.after_cursor:
        position = tuple_(key, col(Todo.id))
        last_seen = tuple_(
            bindparam("after_key", type_=_KEY_TYPES[shape.sort.field]), bindparam("after_id", type_=Uuid)
        )
        conditions.append(position < last_seen if shape.sort.descending else position > last_seen)
    readable = _readable_key(shape.sort.field)
    return (
        select(key.label("sort_key"), col(Todo.id).label("sort_id"), readable.label("key"), *columns)
        .where(*conditions)
        .order_by(order(key), order(col(Todo.id)))
        .limit(bindparam("limit", type_=Integer))
        .lateral("page")
    )
