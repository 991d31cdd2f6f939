"""No user can take the connections to the database from the others."""

import asyncio
from collections import Counter

import httpx
import psycopg

from services.todos.tests.assertions import assert_problem, assert_unavailable
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, running

HOGS = 20


def assert_refused(answer: httpx.Response) -> None:
    assert_problem(answer, 429, "rate_limited")
    assert answer.json()["violated-policies"] == ["user-pool"]
    assert int(answer.headers["retry-after"]) > 0


async def test_a_user_whose_statements_hang_leaves_connections_to_others(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, pool_size=6, statement_timeout=60) as service:
        hog, bob = service.user(), service.user()
        await hog.create()
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [hog.user])
            hogging = [asyncio.create_task(hog.send("DELETE", "/v1/todos?tag=x")) for _ in range(20)]
            while sum(one.done() for one in hogging) < 18:
                await bob.create()
                assert (await bob.get("/v1/todos?limit=1")).status_code == 200
            for refused in [one.result() for one in hogging if one.done()]:
                assert_refused(refused)
        assert Counter(answer.status_code for answer in await asyncio.gather(*hogging)) == {200: 2, 429: 18}
        assert service.registry.get_sample_value("todos_share_refusals_total", {"policy": "user-pool"}) == 18
        assert (await hog.get("/v1/todos")).status_code == 200


async def test_twenty_users_who_take_all_they_can_are_no_error_for_another(database_url: str) -> None:
    async with relay(database_url) as slow, running(slow.url, pool_size=5) as service:
        stop = asyncio.Event()

        async def hog(user: Client) -> None:
            while not stop.is_set():
                answer = await user.get("/v1/todos")
                assert answer.status_code in {200, 429, 503}

        slow.delay = 0.15
        async with asyncio.TaskGroup() as group:
            for _ in range(HOGS):
                user = service.user()
                for _ in range(4):
                    group.create_task(hog(user))
            bob = service.user()
            statuses = [(await bob.get("/v1/todos")).status_code for _ in range(4)]
            stop.set()
        assert statuses == [200] * 4


async def test_thirty_requests_of_one_user_at_once_are_all_answered(database_url: str) -> None:
    async with running(database_url, pool_size=10) as service:
        alice = service.user()
        requests = [("POST", "/v1/todos", {"title": "a"})] * 10 + [("GET", "/v1/todos", None)] * 20
        answers = await asyncio.gather(
            *(alice.send(method, target, json_body=body) for method, target, body in requests)
        )
        assert [answer.status_code for answer in answers] == [201] * 10 + [200] * 20


async def test_a_database_that_says_nothing_is_no_fault_of_the_user(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, pool_size=3, statement_timeout=60) as service:
        alice = service.user()
        await alice.create()
        with superuser.transaction():
            superuser.execute("LOCK TABLE todo")
            both = [asyncio.create_task(alice.get("/v1/todos")) for _ in range(2)]
            refused, waiting = await asyncio.wait(both, return_when="FIRST_COMPLETED")
            assert_unavailable(refused.pop().result(), "database_timeout")
        assert (await waiting.pop()).status_code == 200
