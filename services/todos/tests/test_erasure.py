"""Erasure: nothing stays, at once, and no number comes again."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest

from devtools.fixtures import Database
from services.todos.tests.assertions import assert_problem, in_milliseconds, path
from services.todos.tests.serving import Client, Running, migrate_database, running
from todos.schema.models import TABLES

FAR_AHEAD = 10**15
"""A number that the clock does not reach in these tests, nor in ten thousand years."""


def rows_of(connection: psycopg.Connection, user: str) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        row = connection.execute(f"SELECT count(*) FROM {table} WHERE user_id = %s".encode(), [user]).fetchone()
        assert row
        counts[table] = int(row[0])
    return counts


async def keyed(client: Client) -> int:
    headers = {"idempotency-key": "k"}
    answer = await client.send("POST", "/v1/todos", json_body={"title": "x"}, headers=headers)
    assert answer.status_code == 201
    return int(answer.json()["version"])


async def test_an_erasure_leaves_nothing_of_the_user_and_everything_of_others(
    alice: Client, bob: Client, superuser: psycopg.Connection
) -> None:
    for client in (alice, bob):
        await keyed(client)
        await client.send("DELETE", path(await client.create()))
    before = rows_of(superuser, bob.user)
    erased = await alice.send("DELETE", "/v1/me")
    assert (erased.status_code, erased.content) == (204, b"")
    outlives = rows_of(superuser, alice.user)["seen_signature"]
    assert outlives, "what was signed before the erasure is still taken once"
    assert rows_of(superuser, alice.user) == {**dict.fromkeys(TABLES, 0), "seen_signature": outlives}
    everywhere = superuser.execute(
        "SELECT table_name::text FROM information_schema.columns"
        " WHERE table_schema = 'public' AND column_name = 'user_id'"
    )
    assert sorted(name for (name,) in everywhere) == sorted(TABLES), "there is no table that was forgotten"
    assert (
        rows_of(superuser, bob.user)
        == before
        == {"todo": 2, "tombstone": 0, "user_state": 1, "idempotency": 1, "seen_signature": 3}
    )
    assert (await alice.get("/v1/todos")).json() == []
    assert (await alice.get("/v1/todos?deleted=true")).json() == []
    assert (await alice.get("/v1/todos")).headers["etag"] == 'W/"0"'


async def test_erasing_twice_or_nobody_is_no_error(alice: Client) -> None:
    await alice.create()
    for _ in range(2):
        assert (await alice.send("DELETE", "/v1/me")).status_code == 204
    assert_problem(await alice.send("DELETE", "/v1/me?sure=true"), 422, "invalid")


async def test_a_key_used_before_an_erasure_is_free_after_it(alice: Client) -> None:
    first = await keyed(alice)
    await alice.send("DELETE", "/v1/me")
    assert await keyed(alice) > first
    assert len((await alice.get("/v1/todos")).json()) == 1


async def test_numbers_go_on_above_those_of_before(alice: Client) -> None:
    numbers = [await keyed(alice)]
    for _ in range(5):
        numbers += [todo["version"] for todo in [await alice.create() for _ in range(3)]]
        assert (await alice.send("DELETE", "/v1/me")).status_code == 204
    assert numbers == sorted(set(numbers))


@pytest.fixture
async def own_service(database: Database) -> AsyncIterator[Running]:
    """Beside a database where numbers may run far ahead of the clock."""
    migrate_database(database.server, database.name)
    async with running(database.app_url, pool_size=24) as service:
        yield service


async def test_numbers_that_ran_ahead_of_the_clock_are_never_used_again(
    own_service: Running, database: Database
) -> None:
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        for write in ("POST", "PUT"):
            alice = own_service.user()
            todo = await alice.create()
            superuser.execute("UPDATE user_state SET seq = %s WHERE user_id = %s", [FAR_AHEAD, alice.user])
            ahead = (await alice.send("PATCH", path(todo), json_body={"order": 1})).json()["version"]
            since = (await alice.get("/v1/changes")).json()["next_since"]
            assert (await alice.send("DELETE", "/v1/me")).status_code == 204
            target = "/v1/todos" if write == "POST" else path(todo)
            again = (await alice.send(write, target, json_body={"title": "x"})).json()
            assert again["version"] > ahead
            assert_problem(await alice.get(f"/v1/changes?since={since}"), 410, "sync_reset")
            assert (await alice.get("/v1/changes")).json()["items"] == [again]
        bob = own_service.user()
        assert (await bob.create())["version"] > FAR_AHEAD


async def test_a_first_number_is_the_time_in_milliseconds(alice: Client) -> None:
    todo = await alice.create()
    assert abs(todo["version"] - in_milliseconds(todo["created_at"])) < 1000


async def test_writers_that_wait_for_an_erasure_begin_above_it(own_service: Running, database: Database) -> None:
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        alice = own_service.user()
        todo = await alice.create()
        superuser.execute("UPDATE user_state SET seq = %s WHERE user_id = %s", [FAR_AHEAD, alice.user])
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            waiting = [asyncio.create_task(alice.send("DELETE", "/v1/me"))]
            await blocked(database, 1)
            waiting += [
                asyncio.create_task(alice.send("POST", "/v1/todos", json_body={"title": "x"})),
                asyncio.create_task(keyed_answer(alice)),
                asyncio.create_task(alice.send("PUT", path(todo), json_body={"title": "x"})),
            ]
            await blocked(database, 4)
        answers = await asyncio.gather(*waiting)
        assert answers[0].status_code == 204
        assert {answer.status_code for answer in answers[1:]} <= {200, 201}
        for listed in (await alice.get("/v1/todos")).json():
            assert listed["version"] > FAR_AHEAD
        row = superuser.execute("SELECT purged_seq, seq FROM user_state WHERE user_id = %s", [alice.user]).fetchone()
        assert row is None or row[1] > row[0] > FAR_AHEAD


async def keyed_answer(client: Client) -> httpx.Response:
    return await client.send("POST", "/v1/todos", json_body={"title": "x"}, headers={"idempotency-key": "k"})


async def blocked(database: Database, backends: int) -> None:
    """Wait until so many of the service's statements wait for a lock."""
    waiting = (
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'todos' AND datname = %s"
    )
    with psycopg.connect(database.superuser_url, autocommit=True) as watcher:
        while watcher.execute(waiting, [database.name]).rowcount < backends:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0)
