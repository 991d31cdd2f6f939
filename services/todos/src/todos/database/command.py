"""Statements compiled once, and the commands that run them with values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from sqlalchemy import CompoundSelect, Delete, Insert, Select, Update
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from todos.database.pipeline import Sent

type Value = str | bytes | int | bool | date | datetime | list[str] | list[int] | None

_DIALECT = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so


@dataclass(frozen=True, slots=True)
class Statement[Row]:
    """SQL with `$n` parameters, which are named in order by `names`."""

    sql: bytes
    names: tuple[str, ...]
    make_row: Callable[..., Row]


class Runnable(Protocol):
    """What a transaction needs to run a command, whatever its rows are."""

    def bound_to(self, user_id: str) -> Sent: ...

    def take(self, rows: Iterable[tuple[object, ...]]) -> None: ...


class Command[Row]:
    """A statement with its values, among which `user_id` is not; `rows` is there once it has run."""

    def __init__(self, statement: Statement[Row], values: Mapping[str, Value] | None = None) -> None:
        self._statement = statement
        self._values = values or {}
        self._rows: list[Row] = []

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    def bound_to(self, user_id: str) -> Sent:
        values = {**self._values, "user_id": user_id}
        return self._statement.sql, [values[name] for name in self._statement.names]

    def take(self, rows: Iterable[tuple[object, ...]]) -> None:
        make_row = self._statement.make_row
        self._rows = [make_row(*row) for row in rows]


def compiled[Row](
    expression: Select[*tuple[object, ...]] | CompoundSelect[*tuple[object, ...]] | Insert | Update | Delete,
    make_row: Callable[..., Row],
) -> Statement[Row]:
    """Compile an expression, of which every value is a named parameter."""
    result = expression.compile(dialect=_DIALECT)
    assert not any(value is not None for value in result.params.values()), result.params  # noqa: S101 - by construction
    return Statement(str(result).encode(), tuple(result.positiontup or ()), make_row)


def nothing() -> None:
    """Makes the rows of a statement that returns none."""
