"""Each failure of the database is named as what it is, and no change that may have been made is denied."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import psycopg

from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, running

ROW = b"SELECT FROM user_state WHERE user_id = ANY(%s) FOR UPDATE"


@contextlib.asynccontextmanager
async def stuck(superuser: psycopg.Connection, *clients: Client) -> AsyncIterator[None]:
    """While every write of these users waits."""
    for client in clients:
        await client.create()
    with superuser.transaction():
        superuser.execute(ROW, [[client.user for client in clients]])
        yield


async def create(client: Client) -> httpx.Response:
    return await client.send("POST", "/v1/todos", json_body={"title": "x"})


async def test_a_statement_that_takes_too_long_is_not_an_unreachable_database(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, statement_timeout=0.2) as service:
        slow = service.user()
        async with stuck(superuser, slow):
            answer = await create(slow)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_timeout")
        assert "retry-after" in answer.headers
        assert len((await slow.get("/v1/todos")).json()) == 1


async def test_a_write_whose_confirmation_is_lost_is_not_said_to_have_changed_nothing(database_url: str) -> None:
    async with relay(database_url) as cutting, running(cutting.url, pool_size=2) as service:
        alice = service.user()
        todo = await alice.create()
        cutting.cut_answers = 1
        lost = await create(alice)
        assert lost.json()["code"] == "database_unavailable"
        assert "may or may not have been made" in lost.json()["detail"]
        assert len((await alice.get("/v1/todos")).json()) == 2
        cutting.cut = 1
        before_commit = await alice.send("PATCH", f"/v1/todos/{todo['id']}", json_body={"title": "y"})
        assert "Nothing was changed" in before_commit.json()["detail"]
