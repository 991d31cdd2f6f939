"""Sync: whoever follows `next_since` misses nothing."""

import asyncio
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from services.todos.tests.assertions import assert_problem, path
from services.todos.tests.following import Follower, held_versions, live_versions
from services.todos.tests.serving import Client, running


async def changes(client: Client, since: str | None = None, limit: int | None = None) -> dict[str, Any]:
    given = {"since": since, "limit": limit}
    query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
    answer = await client.get(f"/v1/changes?{query}" if query else "/v1/changes")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def purge_to(superuser: psycopg.Connection, client: Client, number: int) -> None:
    superuser.execute("UPDATE user_state SET purged_seq = %s WHERE user_id = %s", [number, client.user])


async def test_a_first_sync_of_nobody_is_empty_and_goes_on_from_there(alice: Client) -> None:
    first = await changes(alice)
    assert first == {"items": [], "next_since": first["next_since"], "has_more": False}
    todo = await alice.create()
    assert (await changes(alice, first["next_since"]))["items"] == [todo]


async def test_changes_are_private_and_never_kept_by_others(alice: Client) -> None:
    answer = await alice.get("/v1/changes")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Authorization"
    assert "etag" not in answer.headers


async def test_changes_come_in_the_order_of_their_numbers_once_each(alice: Client) -> None:
    one, two, three = [await alice.create(title=str(number)) for number in range(3)]
    page = await changes(alice)
    assert page["items"] == [one, two, three]
    assert page["has_more"] is False
    patched = (await alice.send("PATCH", path(one), json_body={"order": 1})).json()
    await alice.send("DELETE", path(two))
    after = await changes(alice, page["next_since"])
    assert after["items"][0] == patched
    (_, tombstone) = after["items"]
    (deleted,) = (await alice.get("/v1/todos?deleted=true")).json()
    assert tombstone == {"id": two["id"], "deleted_at": deleted["deleted_at"], "version": deleted["version"]}
    assert list(tombstone) == ["id", "deleted_at", "version"]
    assert (await changes(alice, after["next_since"]))["items"] == []


async def test_a_since_gives_the_same_again_however_often_it_is_asked(alice: Client) -> None:
    await alice.create()
    since = (await changes(alice))["next_since"]
    await alice.create()
    assert await changes(alice, since) == await changes(alice, since)


async def test_a_first_sync_tells_nothing_of_what_was_deleted_before_it(alice: Client) -> None:
    one, two = await alice.create(), await alice.create()
    await alice.send("DELETE", path(one))
    page = await changes(alice)
    assert page["items"] == [two]
    assert (await changes(alice, page["next_since"]))["items"] == []


async def test_a_paging_first_sync_hears_of_what_was_deleted_behind_it(alice: Client) -> None:
    todos = [await alice.create() for _ in range(4)]
    first = await changes(alice, limit=2)
    assert (first["items"], first["has_more"]) == (todos[:2], True)
    await alice.send("DELETE", path(todos[0]))
    await alice.send("DELETE", path(todos[3]))
    second = await changes(alice, first["next_since"], 2)
    assert [item["id"] for item in second["items"]] == [todos[2]["id"], todos[0]["id"]]
    third = await changes(alice, second["next_since"], 2)
    assert [item["id"] for item in third["items"]] == [todos[3]["id"]]
    assert third["has_more"] is False


async def test_a_paging_first_sync_outlives_a_purge_of_what_was_deleted_before_it_began(
    alice: Client, superuser: psycopg.Connection
) -> None:
    todos = [await alice.create() for _ in range(3)]
    gone = await alice.create()
    await alice.send("DELETE", path(gone))
    first = await changes(alice, limit=1)
    purge_to(superuser, alice, gone["version"] + 1)
    rest = await changes(alice, first["next_since"])
    assert [*first["items"], *rest["items"]] == todos
    await alice.send("DELETE", path(todos[0]))
    assert [item["id"] for item in (await changes(alice, rest["next_since"]))["items"]] == [todos[0]["id"]]


async def test_a_paging_first_sync_ends_with_a_purge_of_what_was_deleted_since_it_began(
    alice: Client, superuser: psycopg.Connection
) -> None:
    todos = [await alice.create() for _ in range(3)]
    first = await changes(alice, limit=1)
    await alice.send("DELETE", path(todos[0]))
    purge_to(superuser, alice, todos[2]["version"] + 1)
    assert_problem(await alice.get(f"/v1/changes?since={first['next_since']}"), 410, "sync_reset")


async def test_a_since_is_good_until_a_later_tombstone_is_purged(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create()
    since = (await changes(alice))["next_since"]
    await alice.create()
    purge_to(superuser, alice, todo["version"])
    assert len((await changes(alice, since))["items"]) == 1
    purge_to(superuser, alice, todo["version"] + 1)
    refused = await alice.get(f"/v1/changes?since={since}")
    assert_problem(refused, 410, "sync_reset")
    assert "without since" in refused.json()["detail"]
    assert len((await changes(alice))["items"]) == 2


async def test_a_since_from_before_an_erasure_is_reset_and_one_of_nobody_is_not(alice: Client) -> None:
    empty = (await changes(alice))["next_since"]
    await alice.create()
    await alice.create()
    since = (await changes(alice))["next_since"]
    paging = (await changes(alice, limit=1))["next_since"]
    assert (await alice.send("DELETE", "/v1/me")).status_code == 204
    for old in (since, paging):
        assert_problem(await alice.get(f"/v1/changes?since={old}"), 410, "sync_reset")
    assert (await changes(alice, empty))["items"] == []
    todo = await alice.create()
    for old in (since, paging):
        assert_problem(await alice.get(f"/v1/changes?since={old}"), 410, "sync_reset")
    assert (await changes(alice, empty))["items"] == [todo]
    assert (await changes(alice))["items"] == [todo]


async def test_a_since_that_lies_ahead_is_reset(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create()
    await alice.create()
    since = (await changes(alice))["next_since"]
    superuser.execute("UPDATE user_state SET seq = %s WHERE user_id = %s", [todo["version"], alice.user])
    assert_problem(await alice.get(f"/v1/changes?since={since}"), 410, "sync_reset")


async def test_another_users_since_is_reset_and_tells_nothing(alice: Client, bob: Client) -> None:
    await alice.create()
    since = (await changes(alice))["next_since"]
    assert_problem(await bob.get(f"/v1/changes?since={since}"), 410, "sync_reset")
    await bob.create()
    assert_problem(await bob.get(f"/v1/changes?since={since}"), 410, "sync_reset")


@pytest.mark.parametrize(
    "query",
    [
        "since=",
        "since=7",
        f"since={quote('é')}",
        "since=a&since=a",
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=1&limit=1",
        "cursor=a",
        "completed=true",
        "SyncPosition=a",
        "since=%00",
    ],
)
async def test_parameters_that_break_the_contract_are_invalid(alice: Client, query: str) -> None:
    answer = await alice.get(f"/v1/changes?{query}")
    assert_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_a_page_has_100_changes_unless_asked_and_500_at_most(
    alice: Client, superuser: psycopg.Connection
) -> None:
    await alice.create()
    superuser.execute(
        'INSERT INTO todo (user_id, id, title, description, completed, priority, tags, timezone, "order", created_at,'
        " updated_at, version) SELECT user_id, gen_random_uuid(), 'x', '', false, 0, '{}', 'UTC', 0, now(), now(),"
        " seq + n FROM user_state, generate_series(1, 600) AS n WHERE user_id = %s",
        [alice.user],
    )
    superuser.execute("UPDATE user_state SET seq = seq + 600, live_count = 601 WHERE user_id = %s", [alice.user])
    assert len((await changes(alice))["items"]) == 100
    page = await changes(alice, limit=500)
    assert (len(page["items"]), page["has_more"]) == (500, True)
    rest = await changes(alice, page["next_since"], 101)
    assert (len(rest["items"]), rest["has_more"]) == (101, False)


async def test_a_follower_beside_eight_writers_ends_with_exactly_what_is_there(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, pool_size=8) as service:
        alice = service.user()
        shared = f"/v1/todos/{uuid4()}"
        written = asyncio.Event()

        async def write(writer: int) -> None:
            for turn in range(4):
                todo = await alice.create(tags=[f"w{writer}"])
                await alice.send("PUT", shared, json_body={"title": f"{writer} {turn}"})
                await alice.send("PATCH", path(todo), json_body={"order": turn})
                if turn % 2:
                    await alice.send("DELETE", path(todo))
                    await alice.send("POST", f"{path(todo)}/restore")
                else:
                    await alice.send("DELETE", f"/v1/todos?tag=w{writer}")

        async def follow(follower: Follower) -> None:
            while not written.is_set():
                await follower.catch_up()
            await follower.catch_up()

        followers = [Follower(alice, limit=limit) for limit in (1, 7, 500)]
        following = [asyncio.create_task(follow(follower)) for follower in followers]
        await asyncio.gather(*map(write, range(8)))
        written.set()
        await asyncio.gather(*following)
        late = Follower(alice, limit=3)
        await late.catch_up()
        for follower in (*followers, late):
            assert held_versions(follower) == live_versions(superuser, alice.user)
            assert follower.versions == sorted(set(follower.versions)), "told in order, and once each"
            assert follower.resets == 0
