"""Each layer between users alone, on every statement of the register: its own condition, and row-level security."""

import functools
import typing
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from devtools.postgres import APP
from services.todos.tests.isolation import (
    DELETED,
    KEY,
    LIVE,
    MAKERS,
    PROOF,
    modules,
    rows_of,
    untimed,
    walked,
    without_own_condition,
)
from todos.database.command import Statement, Value, registered
from todos.database.ownership import USER_ID
from todos.schema.models import TABLES

BOB, ALICE = f"bob-{uuid4()}", f"alice-{uuid4()}"
INSERTS = (
    """
    INSERT INTO user_state (user_id, seq, live_count, purged_seq)
    SELECT %(user)s, highest + %(number)s, 1, 1 FROM erasure
    """,
    """
    INSERT INTO todo (user_id, id, title, description, completed, priority, tags, due_at, timezone, "order",
                      created_at, updated_at, deleted_at, next_id, version)
    VALUES (%(user)s, %(live)s, 'x', '', false, 0, '{a}', '2030-01-01', 'UTC', 0, now(), now(), NULL, NULL, 5),
           (%(user)s, %(deleted)s, 'x', '', false, 0, '{a}', '2030-01-01', 'UTC', 0, now(), now(), now(), %(live)s, 6)
    """,
    """
    INSERT INTO tombstone (user_id, id, deleted_at, version) VALUES (%(user)s, %(deleted)s, now(), 4)
    """,
    """
    INSERT INTO idempotency (user_id, key, digest, answer, version, created_at)
    VALUES (%(user)s, %(key)s, sha256('body'), '{}', 5, now())
    """,
    "INSERT INTO seen_signature (user_id, proof, expires) VALUES (%(user)s, %(proof)s, now() - interval '1 day')",
)


class Outcome(NamedTuple):
    """What a statement returned, or its error, and what then is in the database; without times."""

    returned: str
    of_all: str
    of_bob: str
    of_alice: str


@pytest.fixture
def both(superuser: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """A transaction of a superuser, in which only Alice and Bob have rows; hers are found first."""
    with superuser.transaction(force_rollback=True):
        for table in TABLES:
            superuser.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        insert_rows(superuser, ALICE, 1000)
        insert_rows(superuser, BOB, 10)
        yield superuser


def insert_rows(connection: psycopg.Connection, user: str, number: int) -> None:
    """The same for each user, but for the number of the latest change."""
    values = {"user": user, "number": number, "live": LIVE, "deleted": DELETED, "key": KEY, "proof": PROOF}
    for insert in INSERTS:
        connection.execute(insert, values)


def delete_rows(connection: psycopg.Connection, user: str) -> None:
    deleted = (f"{table}_gone AS (DELETE FROM {table} WHERE user_id = %(user)s)" for table in TABLES)
    connection.execute(f"WITH {', '.join(deleted)} SELECT".encode(), {"user": user})


def run(
    connection: psycopg.Connection, statement: Statement[Any], values: Mapping[str, Value], *, user: str, secured: bool
) -> Outcome:
    """Run it as Bob and undo it: as the service's role where row-level security is to hold, else as a superuser."""
    with connection.transaction(force_rollback=True):
        try:
            with connection.transaction():
                if secured:
                    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(APP)))
                    connection.execute("SELECT set_config('app.user_id', %s, true)", [BOB])
                cursor = psycopg.RawCursor(connection)
                cursor.execute(statement.sql, [{**values, USER_ID: user}[name] for name in statement.names])
                returned = repr(cursor.fetchall()) if cursor.description else ""
                connection.execute("RESET ROLE")
        except psycopg.Error as error:
            returned = type(error).__name__
        of_all = repr(connection.execute("SELECT highest FROM erasure").fetchone())
        return Outcome(untimed(returned), of_all, rows_of(connection, BOB), rows_of(connection, ALICE))


def reaches_alice(
    connection: psycopg.Connection, statement: Statement[Any], values: Mapping[str, Value], *, secured: bool
) -> bool:
    """Whether anything is different where Alice has rows, or anything becomes of these."""
    with connection.transaction(force_rollback=True):
        before = rows_of(connection, ALICE)
        delete_rows(connection, ALICE)
        alone = run(connection, statement, values, user=BOB, secured=secured)
    return run(connection, statement, values, user=BOB, secured=secured) != alone._replace(of_alice=before)


def test_by_its_own_condition_alone_no_statement_reaches_another_user(both: psycopg.Connection) -> None:
    for statement, sets in walked():
        for values in sets:
            assert not reaches_alice(both, statement, values, secured=False), statement


def test_by_row_level_security_alone_no_statement_reaches_another_user(both: psycopg.Connection) -> None:
    for statement, sets in walked():
        for values in sets:
            assert not reaches_alice(both, without_own_condition(statement), values, secured=True), statement


def test_without_either_every_statement_with_a_condition_reaches_another_user(both: psycopg.Connection) -> None:
    conditional = [each for each in walked() if any(use.bound_by in ("where", "on") for use in each.statement.uses)]
    assert len(conditional) > 120
    for statement, sets in conditional:
        unbound = without_own_condition(statement)
        assert any(reaches_alice(both, unbound, values, secured=False) for values in sets), statement


def test_row_level_security_refuses_every_insert_for_another_user(both: psycopg.Connection) -> None:
    inserting = [each for each in walked() if any(use.verb == "insert" for use in each.statement.uses)]
    assert len(inserting) >= 6
    before = rows_of(both, ALICE)
    for statement, sets in inserting:
        outcomes = [run(both, statement, values, user=ALICE, secured=True) for values in sets]
        assert {outcome.of_alice for outcome in outcomes} == {before}
        # what an INSERT takes from an UPDATE or a DELETE has no row here, and a count of those is 0
        returned = {outcome.returned for outcome in outcomes}
        assert returned <= {"InsufficientPrivilege", "", "[]", "[(0, 0, ]"}, statement


def test_every_statement_of_a_module_is_in_the_register_and_walked() -> None:
    found = statements(*modules())
    assert len(found) > 15
    assert found <= registered() & {each.statement for each in walked()}


def statements(*of: ModuleType) -> set[Statement[Any]]:
    return {value for module in of for value in vars(module).values() if isinstance(value, Statement)}


def test_every_function_that_compiles_on_request_is_walked() -> None:
    assert makers(*modules()) == MAKERS.keys()


def makers(*of: ModuleType) -> set[Callable[..., Any]]:
    values = [value for module in of for value in vars(module).values()]
    cached = {value for value in values if isinstance(value, functools._lru_cache_wrapper)}
    return {maker for maker in cached if typing.get_origin(typing.get_type_hints(maker).get("return")) is Statement}


def test_a_maker_and_a_statement_that_nobody_registered_are_seen() -> None:
    @functools.lru_cache
    def planted() -> Statement[int]:
        return Statement(b"SELECT 1", (), int, ())

    module = ModuleType("planted")
    vars(module).update(planted=planted, read=planted())
    assert makers(module) == {planted}
    assert statements(module) == {planted()}
    assert not statements(module) <= registered()
