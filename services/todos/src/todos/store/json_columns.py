"""A todo as it is shown: JSON that PostgreSQL writes."""

from typing import Any, NamedTuple

from sqlalchemy import DateTime, FromClause, Text, cast, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement, KeyedColumnElement

from todos.domain.fields import STAMPS
from todos.store.columns import CLIENT_FIELDS, utc_text


class ShownRow(NamedTuple):
    """A todo as it is shown: `document` is JSON in the contract's words and order, but for `id` and `url`."""

    id: str
    version: int
    deleted_at: str | None
    document: str


def shown(todo: FromClause) -> tuple[ColumnElement[Any], ...]:
    """What makes a `ShownRow` of a row of `todo`, or of what has its columns."""
    columns = todo.c
    fields = {name: field.json(columns) for name, field in CLIENT_FIELDS.items()}
    fields |= {name: _stamp(columns[name]) for name in STAMPS}
    labelled = (value.label(name) for name, value in fields.items())
    document = select(*labelled).correlate(todo).subquery("document")
    written = select(cast(func.row_to_json(document.table_valued()), Text)).scalar_subquery()
    return cast(columns.id, Text), columns.version, fields["deleted_at"], written


def shown_tombstone(tombstone: FromClause) -> tuple[ColumnElement[Any], ...]:
    """As `shown`, of a row of `tombstone`, which has no document."""
    columns = tombstone.c
    nothing = literal_column("'{}'", Text)
    return cast(columns.id, Text), columns.version, utc_text(columns.deleted_at), nothing


def _stamp(column: KeyedColumnElement[Any]) -> ColumnElement[Any]:
    return utc_text(column) if isinstance(column.type, DateTime) else column
