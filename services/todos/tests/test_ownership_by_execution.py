"""Whatever compiles is run: rows of another user change nothing of what it returns."""

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from psycopg.errors import FeatureNotSupported
from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, cast, func, not_, or_, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlmodel import SQLModel

from todos.database.command import Statement, compiled
from todos.database.ownership import UnboundStatementError

BOB, ALICE = f"bob-{uuid4()}", f"alice-{uuid4()}"
NUMBERS = {"todo": "version", "user_state": "seq"}
A_STATE = "INSERT INTO user_state (user_id, seq, live_count, purged_seq) SELECT %s, highest + 3, 2, 1 FROM erasure"
TWO_TODOS = """
INSERT INTO todo (user_id, id, title, description, completed, priority, tags, timezone, "order", created_at, updated_at,
                  version)
SELECT user_id, gen_random_uuid(), 'x', '', false, 0, '{}', 'UTC', 0, now(), now(), seq + n
FROM user_state, generate_series(0, 1) AS n WHERE user_id = %s
"""


class Queries:
    """Draws queries of tables, joins and queries within; every table is bound, unless they are `sloppy`."""

    def __init__(self, data: st.DataObject, *, sloppy: bool) -> None:
        self._draw = data.draw
        self._sloppy = sloppy
        self._aliases = 0

    def query(self, depth: int) -> Select[str]:
        """Whose rows it finds, as one column of text: `owners`."""
        tables = [self._table() for _ in range(self._draw(st.integers(1, 2)))]
        source = self._joined(tables)
        owners: list[ColumnElement[Any]] = [table.c.user_id for table in tables]
        conditions = self._equalities(tables)
        for _ in range(self._draw(st.integers(0, 2)) if depth else 0):
            inner, place = self.query(depth - 1), self._draw(st.sampled_from(("column", "exists", "source")))
            if place == "exists":
                conditions.append(self._draw(st.sampled_from((inner.exists(), ~inner.exists()))))
            elif place == "column":
                all_owners = inner.subquery(self._alias())
                ordered = aggregate_order_by(all_owners.c.owners, all_owners.c.owners)
                owners.append(select(func.json_agg(ordered)).scalar_subquery())
            else:
                beside = self._named(inner)
                source, owners = source.join(beside, true()), [*owners, beside.c.owners]
        row = cast(func.json_build_array(*owners), Text).label("owners")
        return select(row).select_from(source).where(*conditions)

    def _named(self, query: Select[str]) -> Any:
        name = self._alias()
        ways = (query.subquery, query.lateral, query.cte, query.union_all(self.query(0)).subquery)
        return self._draw(st.sampled_from(ways))(name)

    def _alias(self) -> str:
        self._aliases += 1
        return f"q{self._aliases}"

    def _table(self) -> Any:
        return SQLModel.metadata.tables[self._draw(st.sampled_from(tuple(NUMBERS)))].alias(self._alias())

    def _joined(self, tables: list[Any]) -> Any:
        source: Any = tables[0]
        for table in tables[1:]:
            how = self._draw(st.sampled_from(({}, {"isouter": True}, {"full": True})))
            on = and_(_number(tables[0]) == _number(table), *self._equalities(tables, some=True))
            source = source.join(table, on, **how)
        return source

    def _equalities(self, tables: list[Any], *, some: bool = False) -> list[ColumnElement[bool]]:
        kept = [table for table in tables if not (some or self._sloppy) or self._draw(st.booleans())]
        return [self._disguised(table.c.user_id == bindparam("user_id", type_=Text), table) for table in kept]

    def _disguised(self, equality: ColumnElement[bool], table: Any) -> ColumnElement[bool]:
        always = _number(table) == _number(table)
        ways = [equality, and_(equality, always), and_(always, and_(equality, always))]
        if self._sloppy and not self._draw(st.integers(0, 3)):
            ways = [or_(equality, always), not_(equality), not_(and_(equality, always))]
        return self._draw(st.sampled_from(ways))


def _number(table: Any) -> Any:
    return table.c[NUMBERS[table.element.name]]


@pytest.fixture
def bob_alone(superuser: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A transaction that bypasses row-level security, and in which Bob has rows."""
    with superuser.transaction(force_rollback=True):
        insert_rows(superuser, BOB)
        yield superuser


def insert_rows(connection: psycopg.Connection, user: str) -> None:
    connection.execute(A_STATE, [user])
    connection.execute(TWO_TODOS, [user])


def run(connection: psycopg.Connection, statement: Statement[Any]) -> list[Any]:
    try:
        with connection.transaction():
            values = [BOB for _ in statement.names]
            return sorted(psycopg.RawCursor(connection).execute(statement.sql, values).fetchall())
    except FeatureNotSupported:  # some full joins
        reject()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_query_of_bound_tables_compiles_and_finds_the_same_whatever_another_user_has(
    bob_alone: psycopg.Connection, data: st.DataObject
) -> None:
    assert_unchanged_by_alice(bob_alone, compiled(Queries(data, sloppy=False).query(depth=2), str))


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
def test_a_query_with_unbound_tables_does_not_compile_or_still_finds_the_same(
    bob_alone: psycopg.Connection, data: st.DataObject
) -> None:
    query = Queries(data, sloppy=True).query(depth=data.draw(st.integers(0, 1)))
    with contextlib.suppress(UnboundStatementError):
        assert_unchanged_by_alice(bob_alone, compiled(query, str))


def assert_unchanged_by_alice(connection: psycopg.Connection, statement: Statement[Any]) -> None:
    before = run(connection, statement)
    with connection.transaction(force_rollback=True):
        insert_rows(connection, ALICE)
        assert run(connection, statement) == before
