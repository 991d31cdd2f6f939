"""A todo as it is shown: JSON that PostgreSQL writes."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    DateTime,
    FromClause,
    Integer,
    SQLColumnExpression,
    Text,
    case,
    cast,
    func,
    inspect,
    literal_column,
    select,
)
from sqlalchemy.sql.elements import ColumnElement

from todos.domain.fields import PRIORITIES
from todos.schema.models import Todo

_MOMENT = literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""", Text)
_RANKS: dict[ColumnElement[int], ColumnElement[str]] = {
    literal_column(str(rank), Integer): literal_column(f"'{name}'", Text) for rank, name in enumerate(PRIORITIES)
}

todo_table = inspect(Todo).local_table


class ShownRow(NamedTuple):
    """A todo as it is shown: `document` is JSON in the contract's words and order, but for `id` and `url`."""

    id: str
    version: int
    deleted_at: str | None
    document: str


def utc(column: SQLColumnExpression[datetime | None]) -> ColumnElement[datetime]:
    """The moment without its zone: read the same whatever the session's time zone is."""
    return func.timezone(literal_column("'UTC'"), column)


def utc_text(column: SQLColumnExpression[datetime | None]) -> ColumnElement[str]:
    """RFC 3339 with `Z`, as `duedate.utc_text`."""
    written = func.to_char(utc(column), _MOMENT)
    return func.replace(written, literal_column("'.000000Z'"), literal_column("'Z'"))


def shown(todo: FromClause) -> tuple[ColumnElement[Any], ...]:
    """What makes a `ShownRow` of a row of `todo`, or of what has its columns."""
    columns = todo.c
    deleted_at = utc_text(columns.deleted_at)
    due_on = func.to_char(cast(columns.due_on, DateTime), literal_column("'YYYY-MM-DD'"))
    fields: dict[str, ColumnElement[Any]] = {
        "title": columns.title,
        "description": columns.description,
        "completed": columns.completed,
        "priority": case(_RANKS, value=columns.priority),
        "tags": columns.tags,
        "due_date": func.coalesce(due_on, utc_text(columns.due_at)),
        "timezone": columns.timezone,
        "recurrence": columns.recurrence,
        "order": columns.order,
        "completed_at": utc_text(columns.completed_at),
        "created_at": utc_text(columns.created_at),
        "updated_at": utc_text(columns.updated_at),
        "deleted_at": deleted_at,
        "next_id": columns.next_id,
        "version": columns.version,
    }
    labelled = (value.label(name) for name, value in fields.items())
    document = select(*labelled).correlate(todo).subquery("document")
    written = select(cast(func.row_to_json(document.table_valued()), Text)).scalar_subquery()
    return cast(columns.id, Text), columns.version, deleted_at, written
