"""A database that is stopped, full, locked or slow: 503 in time, no word of why, and back without a restart."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from devtools.fixtures import Database as EmptyDatabase
from devtools.postgres import LocalPostgres
from runtime.logs import JsonFormatter
from services.todos.tests.assertions import assert_unavailable, until_available
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, Running, migrate_database, running
from todos.database.pool import ACQUIRE_SECONDS
from todos.database.user_session import GRACE_SECONDS

STATEMENT_SECONDS = 0.2
LATEST_SECONDS = ACQUIRE_SECONDS + STATEMENT_SECONDS + GRACE_SECONDS + 2
"""For an answer: a connection, a statement, and what a busy machine takes."""

TODO = {"title": "confidential"}
WORDS = (
    "confidential",
    "SELECT",
    "INSERT",
    "UPDATE",
    "user_state",
    "FATAL",
    "ERROR:",
    "canceling statement",
    "too many",
    "connection slots",
    "connection failed",
    "terminating",
    "shutting down",
    "starting up",
    "closed the connection unexpectedly",
    "lock",
)
ADDRESS = ("todos_app", "127.0.0.1")
"""What the log may name, and an answer may not."""


@pytest.fixture(autouse=True)
def _no_word_of_the_database_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    for noisy in ("psycopg", "psycopg.pool", "asyncio", "uvicorn", "httpx", "httpcore", "alembic"):
        caplog.set_level(logging.ERROR, noisy)
    caplog.set_level(logging.DEBUG)
    yield
    formatter = JsonFormatter("todos")
    logged = [formatter.format(record) for record in caplog.get_records("call")]
    assert any("database unavailable" in line or "statement timed out" in line for line in logged)
    assert [line for line in logged for word in WORDS if word in line] == []


@asynccontextmanager
async def serving(server: LocalPostgres, database: str = "todos") -> AsyncIterator[Running]:
    migrate_database(server, database)
    async with running(server.app_url(database), statement_timeout=STATEMENT_SECONDS) as service:
        yield service


def end_connections(superuser: psycopg.Connection) -> None:
    superuser.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'todos'"
    ).fetchall()


def take_connections(server: LocalPostgres, holders: ExitStack) -> None:
    """All that there are, until the server says so."""
    while True:
        holders.enter_context(closing(psycopg.connect(server.owner_url())))


async def create(client: Client, key: str) -> httpx.Response:
    return await client.send("POST", "/v1/todos", json_body=TODO, headers={"idempotency-key": key})


def every_write(todo: dict[str, Any]) -> list[tuple[str, str, Any]]:
    target = f"/v1/todos/{todo['id']}"
    return [
        ("POST", "/v1/todos", TODO),
        ("DELETE", "/v1/todos?tag=x", None),
        ("PUT", target, TODO),
        ("PUT", f"/v1/todos/{uuid4()}", TODO),
        ("PATCH", target, {"completed": True}),
        ("DELETE", target, None),
        ("POST", f"{target}/restore", None),
        ("POST", "/v1/import", [todo]),
        ("DELETE", "/v1/me", None),
    ]


def every_read(todo: dict[str, Any]) -> list[tuple[str, str, Any]]:
    targets = ("/v1/todos", f"/v1/todos/{todo['id']}", "/v1/changes", "/v1/stats", "/v1/export")
    return [("GET", target, None) for target in targets]


async def assert_all_unavailable(
    client: Client, requests: list[tuple[str, str, Any]], code: str = "database_unavailable"
) -> None:
    """All at once: each within its time, in the same words."""

    async def ask(method: str, target: str, body: Any) -> dict[str, Any]:
        began = time.monotonic()
        answer = await client.send(method, target, json_body=body)
        assert_unavailable(answer, code)
        assert time.monotonic() - began < LATEST_SECONDS, (method, target)
        assert [word for word in (*WORDS, *ADDRESS) if word in answer.text] == []
        told: dict[str, Any] = answer.json()
        return {name: value for name, value in told.items() if name != "instance"}

    told = await asyncio.gather(*(ask(*request) for request in requests))
    assert all(words == told[0] for words in told)


async def test_a_stopped_database_is_503_on_every_route_and_back_without_a_restart(
    own_postgres: Callable[[], LocalPostgres],
) -> None:
    server = own_postgres()
    async with serving(server) as service:
        alice = service.user()
        todo = await alice.create()
        server.stop()
        await assert_all_unavailable(alice, every_read(todo) + every_write(todo))
        server.start()
        assert (await until_available(alice)).json() == [todo]
        server.stop()
        server.start()
        assert (await create(alice, "k")).status_code in (201, 503)
        await until_available(alice)
        first, again = await create(alice, "k"), await create(alice, "k")
        assert (first.status_code, first.content) == (201, again.content)
        assert len((await alice.get("/v1/todos")).json()) == 2


async def test_a_frozen_database_is_503_in_time_and_a_write_that_hung_happens_once(
    own_postgres: Callable[[], LocalPostgres],
) -> None:
    server = own_postgres()
    async with serving(server) as service:
        alice = service.user()
        todo = await alice.create()
        server.freeze()
        await assert_all_unavailable(alice, [*every_read(todo), ("POST", "/v1/todos", TODO)])
        assert_unavailable(await create(alice, "k"))
        server.thaw()
        await until_available(alice)
        first, again = await create(alice, "k"), await create(alice, "k")
        assert (first.status_code, first.content) == (201, again.content)


async def test_a_database_out_of_connections_is_503_until_there_are_some(
    own_postgres: Callable[[], LocalPostgres],
) -> None:
    server = own_postgres()
    async with serving(server) as service:
        alice = service.user()
        todo = await alice.create()
        with ExitStack() as holders:
            superuser = holders.enter_context(closing(psycopg.connect(server.superuser_url(), autocommit=True)))
            end_connections(superuser)
            with pytest.raises(psycopg.OperationalError, match="slots"):
                take_connections(server, holders)
            await assert_all_unavailable(alice, every_read(todo) + every_write(todo))
        assert (await until_available(alice)).json() == [todo]


async def test_a_limit_of_connections_on_the_role_is_503_until_it_is_raised(
    own_postgres: Callable[[], LocalPostgres],
) -> None:
    server = own_postgres()
    async with serving(server) as service:
        alice = service.user()
        todo = await alice.create()
        with closing(psycopg.connect(server.superuser_url(), autocommit=True)) as superuser:
            superuser.execute("ALTER ROLE todos_app CONNECTION LIMIT 0")
            end_connections(superuser)
            await assert_all_unavailable(alice, every_read(todo) + every_write(todo))
            # fewer than the pool would like: those it has go round
            superuser.execute("ALTER ROLE todos_app CONNECTION LIMIT 1")
            await until_available(alice)
            answers = await asyncio.gather(*(create(alice, str(number)) for number in range(6)))
            assert [answer.status_code for answer in answers] == [201] * 6


async def test_a_lock_on_a_user_is_503_for_the_writes_of_that_user_alone(database: EmptyDatabase) -> None:
    async with serving(database.server, database.name) as service:
        alice, bob = service.user(), service.user()
        todo = await alice.create(tags=["x"])
        await bob.create()
        with closing(psycopg.connect(database.superuser_url)) as other:
            other.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            await assert_all_unavailable(alice, every_write(todo), "database_timeout")
            assert_unavailable(await create(alice, "k"), "database_timeout")
            for method, target, _ in every_read(todo):
                assert (await alice.send(method, target)).status_code == 200
            assert (await create(bob, "k")).status_code == 201
        assert (await alice.get("/v1/todos")).json() == [todo]
        first, again = await create(alice, "k"), await create(alice, "k")
        assert (first.status_code, first.content) == (201, again.content)


async def test_a_lock_on_a_table_is_503_on_every_route_until_it_goes(database: EmptyDatabase) -> None:
    async with serving(database.server, database.name) as service:
        alice = service.user()
        todo = await alice.create(tags=["x"])
        with closing(psycopg.connect(database.superuser_url)) as other:
            other.execute("LOCK TABLE todo, user_state IN ACCESS EXCLUSIVE MODE")
            await assert_all_unavailable(alice, every_read(todo) + every_write(todo), "database_timeout")
        assert (await alice.get("/v1/todos")).json() == [todo]


async def test_a_slow_database_is_served_from_while_it_is_in_time_and_503_beyond(database: EmptyDatabase) -> None:
    migrate_database(database.server, database.name)
    async with (
        relay(database.app_url) as slow,
        running(slow.url, statement_timeout=STATEMENT_SECONDS) as service,
    ):
        alice = service.user()
        todo = await alice.create()
        slow.delay = STATEMENT_SECONDS / 2
        assert (await alice.get("/v1/todos")).json() == [todo]
        assert (await create(alice, "k")).status_code == 201
        slow.delay = 10 * LATEST_SECONDS
        await assert_all_unavailable(alice, [*every_read(todo), ("POST", "/v1/todos", TODO)])
        assert_unavailable(await create(alice, "l"))
        slow.delay = 0
        await until_available(alice)
        first, again = await create(alice, "l"), await create(alice, "l")
        assert (first.status_code, first.content) == (201, again.content)
