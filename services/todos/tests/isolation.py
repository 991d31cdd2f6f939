"""Every statement of the service with values that reach for each row, and what it is without its own condition."""

import dataclasses
import functools
import gc
import importlib
import itertools
import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg

import todos
from todos.database.command import Statement, Value, registered
from todos.database.ownership import USER_ID
from todos.schema.models import TABLES
from todos.store.bulk import delete_statement, empty_statement, restore_statement
from todos.store.list_statements import (
    _CONDITIONS,
    SORT_FIELDS,
    Filter,
    Shape,
    Sort,
    SortField,
    batch_statement,
    list_statement,
)

LIVE, DELETED, NEW = str(UUID(int=1)), str(UUID(int=2)), str(uuid4())
KEY, NEW_KEY = "kept", "new"
PROOF = b"p" * 32
_NOW = datetime.now(UTC)
_LONG_AGO, _FAR_AHEAD = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_FIRST_KEYS: dict[SortField, tuple[Value, Value]] = {
    "created_at": (_LONG_AGO, _FAR_AHEAD),
    "updated_at": (_LONG_AGO, _FAR_AHEAD),
    "due_date": (_LONG_AGO, _FAR_AHEAD),
    "priority": (-1, 5),
    "title": ("", "\N{DESERET SMALL LETTER EW}"),
    "order": (-(2**31), 2**31 - 1),
}
"""For each sort a key before all others, ascending and descending."""
VALUES: dict[str, Value] = {
    "title": "new",
    "description": "",
    "priority": 1,
    "tags": ["a"],
    "timezone": "UTC",
    "recurrence": None,
    "completed": False,
    "due_on": None,
    "due_at": None,
    "due_wall": None,
    "order": 0,
    "next_id": None,
    "answer": "{}",
    "digest": b"d" * 32,
    "any_version": True,
    "versions": [],
    "limit": 100,
    "after": 0,
    "at": None,
    "number": 0,
    "began": None,
    "proof": b"n" * 32,
    "expires": _NOW + timedelta(hours=1),
    "forgotten_before": _NOW,
}
"""A value of each parameter, but for those of filters and cursors and those of which there are several."""
SEVERAL: tuple[dict[str, Value], ...] = (
    {"id": LIVE, "key": KEY},
    {"id": DELETED, "key": NEW_KEY},
    {"id": NEW, "key": NEW_KEY},
)
FILTERS: dict[str, Value] = {
    "completed": False,
    "priority": [0],
    "tag": ["a"],
    "due_after": _LONG_AGO,
    "due_before": _FAR_AHEAD,
    "deleted_after": _LONG_AGO,
    "q": "x",
}


class Walked(NamedTuple):
    """A statement, and each set of values to run it with."""

    statement: Statement[Any]
    values: list[Mapping[str, Value]]


def modules() -> Iterator[ModuleType]:
    """Every module of the service."""
    for found in pkgutil.walk_packages(todos.__path__, "todos."):
        yield importlib.import_module(found.name)


def _filters() -> list[frozenset[Filter]]:
    """None, each alone, and all."""
    return [frozenset(), *(frozenset([name]) for name in sorted(_CONDITIONS)), frozenset(_CONDITIONS)]


def _shapes() -> Iterator[Shape]:
    """Every sort with no filter and with all; each filter alone in one sort."""
    for field, descending, deleted, after_cursor in itertools.product(SORT_FIELDS, *((False, True),) * 3):
        for filters in (frozenset[Filter](), frozenset(_CONDITIONS)):
            yield Shape(Sort(field, descending), filters, deleted, after_cursor)
    for filters in _filters()[1:-1]:
        yield Shape(Sort("title", descending=False), filters, deleted=False, after_cursor=False)


def _values_of_shape(shape: Shape) -> Mapping[str, Value]:
    key = _FIRST_KEYS[shape.sort.field][shape.sort.descending]
    first_id = UUID(int=2**128 - 1 if shape.sort.descending else 0)
    return {**FILTERS, "limit": 100, "after_key": key, "after_id": str(first_id)}


_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.]+(Z|\+00:00|\+00)?|datetime\.datetime\([^)]*\)+")

type Maker = Callable[[Any], Statement[Any]]
MAKERS: dict[Maker, Callable[[], list[tuple[Any, Mapping[str, Value]]]]] = {
    list_statement: lambda: [(shape, _values_of_shape(shape)) for shape in _shapes()],
    batch_statement: lambda: [(shape, _values_of_shape(shape)) for shape in _shapes()],
    delete_statement: lambda: [(filters - {"deleted_after"}, FILTERS) for filters in _filters()],
    empty_statement: lambda: [(filters, FILTERS) for filters in _filters()],
    restore_statement: lambda: [(filters, FILTERS) for filters in _filters()],
}
"""What compiles on request, with the arguments to walk and the values of the parameters."""


@functools.cache
def walked() -> tuple[Walked, ...]:
    """Every registered statement, and those that the makers compile of each sort, direction and filter."""
    list(modules())
    for maker in MAKERS:
        maker.cache_clear()  # type: ignore[attr-defined]  # what other tests have compiled
    gc.collect()
    fixed = [Walked(statement, _several(statement)) for statement in registered()]
    made = [Walked(maker(each), [values]) for maker, every in MAKERS.items() for each, values in every()]
    return (*fixed, *made)


def _several(statement: Statement[Any]) -> list[Mapping[str, Value]]:
    columns = {name: value for name, value in VALUES.items() if not isinstance(value, bytes | datetime)}
    items = [{**columns, "id": one, "position": number} for number, one in enumerate((LIVE, DELETED, NEW), 1)]
    sets = [{**VALUES, **several, "items": json.dumps(items)} for several in SEVERAL]
    different = {str([values[name] for name in statement.names if name != USER_ID]): values for values in sets}
    return list(different.values())


def without_own_condition[Row](statement: Statement[Row]) -> Statement[Row]:
    """The statement without the equalities that bind its tables to the user."""
    bound = [use for use in statement.uses if use.bound_by in ("where", "on")]
    number = statement.names.index(USER_ID) + 1 if bound else 0
    sql, removed = re.subn(rf"\b\w+\.{USER_ID} = (\${number}::VARCHAR)", r"\1 IS NOT NULL", statement.sql.decode())
    assert removed == len(bound), sql
    return dataclasses.replace(statement, sql=sql.encode())


def rows_of(connection: psycopg.Connection, user: str) -> str:
    """Everything in every table of users that is the user's, but for times."""
    rows = (f"(SELECT jsonb_agg(t ORDER BY t) FROM {table} t WHERE user_id = %(user)s)" for table in TABLES)
    return untimed(repr(connection.execute(f"SELECT {', '.join(rows)}".encode(), {"user": user}).fetchone()))


def untimed(text: str) -> str:
    """Without moments of time, which differ from run to run."""
    return _TIME.sub("", text)
