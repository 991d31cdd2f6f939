"""Statements compiled once, and the commands that run them with values."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol
from weakref import WeakSet

from todos.database.ownership import Expression, TableUse, compile_owned
from todos.database.pipeline import Sent

type Value = str | bytes | int | bool | date | datetime | list[str] | list[int] | None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Statement[Row]:
    """SQL with `$n` parameters, which are named in order by `names`; `uses` are the tables that it names."""

    sql: bytes
    names: tuple[str, ...]
    make_row: Callable[..., Row]
    uses: tuple[TableUse, ...]


_registered: WeakSet[Statement[Any]] = WeakSet()


class Runnable(Protocol):
    """What a transaction needs to run a command of any row type."""

    def bound_to(self, user_id: str) -> Sent: ...

    def take(self, rows: Iterable[tuple[object, ...]]) -> None: ...


class Command[Row]:
    """A statement with its values, except `user_id`; `rows` is set once it has run."""

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


def compiled[Row](expression: Expression, make_row: Callable[..., Row]) -> Statement[Row]:
    """Compile and register a statement.

    Raises:
        UnboundStatementError: as `compile_owned`.
    """
    result = compile_owned(expression)
    statement = Statement(str(result).encode(), tuple(result.positiontup or ()), make_row, tuple(result.uses))
    _registered.add(statement)
    return statement


def registered() -> frozenset[Statement[Any]]:
    """Every compiled statement that is still in use."""
    return frozenset(_registered)


def nothing() -> None:
    """Makes the rows of a statement that returns none."""
