"""How the fields of a todo are kept: the one description that statements, JSON, exports and imports follow.

A field that `_OTHERS` does not describe is kept in the column of its name, and shown as PostgreSQL writes that column
in JSON. Fields stand in the contract's order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    DateTime,
    Integer,
    SQLColumnExpression,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    func,
    inspect,
    literal_column,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import ColumnElement, KeyedColumnElement

from runtime.problems import Fault
from todos.database.command import Value
from todos.domain import due_date, recurrence_rule
from todos.domain.faults import invalid_body
from todos.domain.fields import PRIORITIES, RANKS, TodoFields
from todos.schema.models import Todo, Tombstone

type Columns = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]

todo_table = inspect(Todo).local_table
tombstone_table = inspect(Tombstone).local_table

_MOMENT = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""", Text)
_DAY = literal_column("'YYYY-MM-DD'", Text)
_NAMES_BY_RANK: dict[ColumnElement[int], ColumnElement[str]] = {
    literal_column(str(rank), Integer): literal_column(f"'{name}'", Text) for rank, name in enumerate(PRIORITIES)
}


@dataclass(frozen=True, slots=True)
class ClientField:
    """How a field that a client sets is kept.

    Attributes:
        columns: where it is kept.
        store: the values of `columns`, of a whole todo; raises ValueError where the field does not go with others.
        load: the field, from the values of `columns` as `readable` selects them.
        json: the field as the contract shows it, from the columns of a todo.
    """

    columns: tuple[str, ...]
    store: Callable[[TodoFields], tuple[Value, ...]]
    load: Callable[..., Any]
    json: Callable[[Columns], ColumnElement[Any]]


class TodoRow(NamedTuple):
    """A todo as it is kept; times outside of `fields` are naive datetimes in UTC."""

    id: str
    fields: TodoFields
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    next_id: str | None
    version: int
    due_wall: datetime | None
    """Local, and never shown."""


def utc(column: SQLColumnExpression[datetime | None]) -> ColumnElement[datetime]:
    """The moment without its zone: read the same whatever the session's time zone is."""
    return func.timezone(literal_column("'UTC'"), column)


def utc_text(column: SQLColumnExpression[datetime | None]) -> ColumnElement[str]:
    """RFC 3339 with `Z`, as `due_date.rfc3339`."""
    return func.replace(func.to_char(utc(column), _MOMENT), literal_column("'.000000Z'"), literal_column("'Z'"))


def readable(name: str) -> SQLColumnExpression[Any]:
    """A column of `todo` as a `TodoRow` has it: ids as text, moments as naive datetimes in UTC."""
    column = todo_table.c[name]
    match column.type:
        case Uuid():
            return cast(column, Text)
        case DateTime(timezone=True):
            return utc(column)
        case _:
            return column


def _plain(name: str) -> ClientField:
    get = attrgetter(name)
    return ClientField((name,), lambda fields: (get(fields),), lambda value: value, lambda todo: todo[name])


def _store_due_date(fields: TodoFields) -> tuple[Value, ...]:
    return due_date.resolve(fields.due_date, fields.timezone)


def _load_due_date(due_on: date | None, due_at: datetime | None) -> date | datetime | None:
    return due_on or (due_at and due_at.replace(tzinfo=UTC))


def _due_date_json(todo: Columns) -> ColumnElement[str]:
    return func.coalesce(func.to_char(cast(todo.due_on, DateTime), _DAY), utc_text(todo.due_at))


def _store_recurrence(fields: TodoFields) -> tuple[Value, ...]:
    if fields.recurrence is not None:
        recurrence_rule.parse(fields.recurrence).check_due(fields.due_date)
    return (fields.recurrence,)


_OTHERS = {
    "priority": replace(
        _plain("priority"),
        store=lambda fields: (RANKS[fields.priority],),
        load=lambda rank: PRIORITIES[rank],
        json=lambda todo: case(_NAMES_BY_RANK, value=todo.priority),
    ),
    "due_date": ClientField(("due_on", "due_at"), _store_due_date, _load_due_date, _due_date_json),
    "recurrence": replace(_plain("recurrence"), store=_store_recurrence),
}
CLIENT_FIELDS = {name: _OTHERS.get(name) or _plain(name) for name in TodoFields.model_fields}
_CLIENT_COLUMNS = [column for field in CLIENT_FIELDS.values() for column in field.columns]
PARAMETERS = {name: bindparam(name, type_=todo_table.c[name].type) for name in _CLIENT_COLUMNS}
"""What a client sets, as statements bind it, by column."""
TODO_ROW = tuple(readable(name) for name in ("id", *_CLIENT_COLUMNS, *TodoRow._fields[2:]))
"""What `todo_row` makes a row of."""


def _place(columns: tuple[str, ...]) -> slice:
    return slice(_CLIENT_COLUMNS.index(columns[0]), _CLIENT_COLUMNS.index(columns[-1]) + 1)


_LOADS = [(name, field.load, _place(field.columns)) for name, field in CLIENT_FIELDS.items()]


def todo_row(todo_id: str, *values: object) -> TodoRow:
    """Makes the rows of a statement that selects `TODO_ROW`."""
    fields = {name: load(*values[place]) for name, load, place in _LOADS}
    return TodoRow._make((todo_id, TodoFields.model_construct(**fields), *values[len(_CLIENT_COLUMNS) :]))


def column_values(fields: TodoFields) -> dict[str, Value]:
    """The columns of what a client sets.

    Raises:
        ProblemError: `invalid`, fields do not go together.
    """
    values: dict[str, Value] = {}
    for name, field in CLIENT_FIELDS.items():
        try:
            stored = field.store(fields)
        except ValueError as error:
            raise invalid_body([Fault(pointer=f"/{name}", detail=str(error))]) from None
        values.update(zip(field.columns, stored, strict=True))
    return values
