"""Deleting many at once, and undoing a deletion."""

import asyncio
from uuid import uuid4

import psycopg
import pytest

from services.todos.tests.assertions import assert_problem, path
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, running
from todos.schema.limits import QUOTA


async def test_a_restored_todo_is_as_it_was_with_the_next_number(alice: Client) -> None:
    todo = await alice.create(title="x", tags=["a"], due_date="2026-03-01", completed=True)
    await alice.send("DELETE", path(todo))
    answer = await alice.send("POST", f"{path(todo)}/restore")
    assert answer.status_code == 200
    restored = answer.json()
    assert answer.headers["etag"] == f'"{restored["version"]}"'
    assert restored == {**todo, "version": todo["version"] + 2, "updated_at": restored["updated_at"]}
    assert restored["updated_at"] > todo["updated_at"]
    assert (await alice.get("/v1/todos")).json() == [restored]
    assert (await alice.get("/v1/todos?deleted=true")).json() == []


async def test_restoring_what_is_not_deleted_changes_nothing(alice: Client) -> None:
    todo = await alice.create()
    for _ in range(2):
        answer = await alice.send("POST", f"{path(todo)}/restore")
        assert (answer.status_code, answer.json()) == (200, todo)
    assert (await alice.create())["version"] == todo["version"] + 1


async def test_a_put_to_a_deleted_id_names_the_way_back(alice: Client) -> None:
    todo = await alice.create()
    await alice.send("DELETE", path(todo))
    refused = await alice.send("PUT", path(todo), json_body={"title": "x"})
    assert_problem(refused, 409, "deleted")
    assert "restore" in refused.json()["detail"]
    await alice.send("POST", f"{path(todo)}/restore")
    assert (await alice.send("PUT", path(todo), json_body={"title": "x"})).status_code == 200


async def test_a_restore_at_the_quota_is_refused_and_changes_nothing(
    alice: Client, superuser: psycopg.Connection
) -> None:
    todo, live = await alice.create(), await alice.create()
    await alice.send("DELETE", path(todo))
    superuser.execute("UPDATE user_state SET live_count = %s WHERE user_id = %s", [QUOTA, alice.user])
    assert_problem(await alice.send("POST", f"{path(todo)}/restore"), 409, "quota")
    assert (await alice.send("POST", f"{path(live)}/restore")).status_code == 200
    assert len((await alice.get("/v1/todos?deleted=true")).json()) == 1
    await alice.send("DELETE", path(live))
    assert (await alice.send("POST", f"{path(todo)}/restore")).json()["version"] == todo["version"] + 4


async def test_restores_and_deletions_at_once_count_the_live_ones_right(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, pool_size=8) as service:
        alice = service.user()
        todo = await alice.create()
        requests = [alice.send("DELETE", path(todo)) for _ in range(6)]
        requests += [alice.send("POST", f"{path(todo)}/restore") for _ in range(6)]
        requests += [alice.send("DELETE", "/v1/todos") for _ in range(6)]
        await asyncio.gather(*requests)
        live = len((await alice.get("/v1/todos")).json())
        assert superuser.execute("SELECT live_count FROM user_state WHERE user_id = %s", [alice.user]).fetchone() == (
            live,
        )


@pytest.mark.parametrize("todo_id", ["nope", "0192F7C0-0000-7000-8000-00000000000A"])
async def test_restoring_an_id_that_is_no_uuid_is_not_found(alice: Client, todo_id: str) -> None:
    assert_problem(await alice.send("POST", f"/v1/todos/{todo_id}/restore"), 404, "not_found")
    assert_problem(await alice.send("POST", f"/v1/todos/{uuid4()}/restore?x=1"), 422, "invalid")


async def test_a_bulk_deletion_takes_what_its_filters_list_and_a_number_each_in_order(alice: Client) -> None:
    kept = await alice.create(title="kept", tags=["a"], completed=True)
    first = await alice.create(title="x", tags=["a", "b"], priority="high")
    second = await alice.create(title="X", tags=["a"], priority="urgent")
    await alice.create(title="x")
    await alice.send("PATCH", path(first), json_body={"order": 1})
    answer = await alice.send("DELETE", "/v1/todos?tag=a&completed=false&q=x&priority=high&priority=urgent")
    assert (answer.status_code, answer.json()["affected"]) == (200, 2)
    assert answer.headers["cache-control"] == "private, no-cache"
    deleted = {todo["id"]: todo for todo in (await alice.get("/v1/todos?deleted=true")).json()}
    last = kept["version"] + 4
    assert [deleted[todo["id"]]["version"] for todo in (second, first)] == [last + 1, last + 2]
    assert all(todo["deleted_at"] == todo["updated_at"] == answer.json()["at"] for todo in deleted.values())
    assert len((await alice.get("/v1/todos")).json()) == 2
    assert (await alice.create())["version"] == last + 3


async def test_a_bulk_deletion_without_filters_takes_everything_and_can_be_undone(alice: Client) -> None:
    todos = [await alice.create(title=str(number)) for number in range(3)]
    assert (await alice.send("DELETE", "/v1/todos")).json()["affected"] == 3
    assert (await alice.get("/v1/todos")).json() == []
    for todo in todos:
        assert (await alice.send("POST", f"{path(todo)}/restore")).status_code == 200
    assert len((await alice.get("/v1/todos")).json()) == 3


async def test_a_bulk_deletion_of_nothing_takes_no_number(alice: Client) -> None:
    assert (await alice.send("DELETE", "/v1/todos")).json()["affected"] == 0
    todo = await alice.create()
    for method, target in (
        ("DELETE", "/v1/todos?tag=none"),
        ("DELETE", "/v1/todos?deleted=true"),
        ("POST", "/v1/todos/restore"),
    ):
        answer = (await alice.send(method, target)).json()
        assert answer["affected"] == 0
        assert answer["at"] > todo["updated_at"], "the moment of the server all the same"
    assert (await alice.get("/v1/todos")).json() == [todo]
    assert (await alice.create())["version"] == todo["version"] + 1


@pytest.mark.parametrize(
    "query",
    [
        "deleted_after=2020-01-01T00:00:00Z",
        "deleted=yes",
        "sort=title",
        "limit=1",
        "cursor=a",
        "compelted=true",
        "q=",
        "completed=yes",
    ],
)
async def test_a_misspelt_filter_never_deletes_everything(alice: Client, query: str) -> None:
    todo = await alice.create()
    for misspelt in (query, f"completed=false&{query}"):
        answer = await alice.send("DELETE", f"/v1/todos?{misspelt}")
        assert_problem(answer, 422, "invalid")
        assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]
    assert_problem(await alice.send("DELETE", "/v1/todos?completed=false&completed=true"), 422, "invalid")
    assert (await alice.get("/v1/todos")).json() == [todo]


@pytest.mark.parametrize(
    "query", ["deleted=true", "sort=title", "limit=1", "cursor=a", "deleted_after=2024-11-08", "delete_after=x"]
)
async def test_a_misspelt_filter_never_restores_everything(alice: Client, query: str) -> None:
    await alice.send("DELETE", path(await alice.create()))
    answer = await alice.send("POST", f"/v1/todos/restore?{query}")
    assert_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]
    assert (await alice.get("/v1/todos")).json() == []


async def test_a_restore_by_filters_undoes_the_deletions_since_a_moment(alice: Client) -> None:
    todos = [await alice.create(title=str(number), tags=["a"][: number % 2]) for number in range(4)]
    await alice.send("DELETE", path(todos[0]))
    at = (await alice.send("DELETE", "/v1/todos")).json()["at"]
    last = todos[-1]["version"] + 4
    tagged = await alice.send("POST", f"/v1/todos/restore?tag=a&deleted_after={at}")
    assert (tagged.status_code, tagged.json()["affected"]) == (200, 2)
    restored = (await alice.get("/v1/todos?sort=title")).json()
    stamps = {"version": last + 1, "updated_at": tagged.json()["at"]}
    assert restored == [todos[1] | stamps, todos[3] | stamps | {"version": last + 2}]
    rest = await alice.send("POST", f"/v1/todos/restore?deleted_after={at}")
    assert rest.json()["affected"] == 1
    assert [todo["id"] for todo in (await alice.get("/v1/todos?deleted=true")).json()] == [todos[0]["id"]]
    shown = await alice.get(f"/v1/todos?deleted=true&deleted_after={at}")
    assert (shown.status_code, shown.json()) == (200, [])
    assert_problem(await alice.get(f"/v1/todos?deleted_after={at}"), 422, "invalid")


async def test_the_quota_is_checked_for_all_that_are_restored(alice: Client, superuser: psycopg.Connection) -> None:
    for _ in range(2):
        await alice.create()
    await alice.send("DELETE", "/v1/todos")
    held = "UPDATE user_state SET live_count = %s WHERE user_id = %s"
    superuser.execute(held, [QUOTA - 1, alice.user])
    refused = await alice.send("POST", "/v1/todos/restore")
    assert_problem(refused, 409, "quota")
    assert len((await alice.get("/v1/todos?deleted=true")).json()) == 2
    superuser.execute(held, [QUOTA - 2, alice.user])
    assert (await alice.send("POST", "/v1/todos/restore")).json()["affected"] == 2


async def test_what_is_emptied_from_the_bin_is_a_tombstone_in_the_changes_and_nowhere_else(
    alice: Client, superuser: psycopg.Connection
) -> None:
    kept, first, second = [await alice.create(title=title) for title in ("kept", "gone", "gone")]
    for todo in (kept, second, first):
        await alice.send("DELETE", path(todo))
    since = (await alice.get("/v1/changes")).json()["next_since"]
    deleted = {todo["id"]: todo["deleted_at"] for todo in (await alice.get("/v1/todos?deleted=true")).json()}
    answer = await alice.send("DELETE", "/v1/todos?deleted=true&q=gone")
    assert (answer.status_code, answer.json()["affected"]) == (200, 2)
    last = second["version"] + 3
    emptied = [
        {"id": todo["id"], "deleted_at": deleted[todo["id"]], "version": last + number}
        for number, todo in enumerate((second, first), 1)
    ]
    assert (await alice.get(f"/v1/changes?since={since}")).json()["items"] == emptied
    assert (await alice.get(f"/v1/changes?since={since}&limit=1")).json()["items"] == emptied[:1]
    assert (await alice.get("/v1/changes")).json()["items"] == [], "a client that holds nothing needs none"
    assert [todo["id"] for todo in (await alice.get("/v1/todos?deleted=true")).json()] == [kept["id"]]
    assert [todo["id"] for todo in (await alice.get("/v1/export?deleted=true")).json()] == [kept["id"]]
    for todo in (first, second):
        assert_problem(await alice.get(path(todo)), 404, "not_found")
        assert_problem(await alice.send("POST", f"{path(todo)}/restore"), 404, "not_found")
    assert (await alice.send("POST", "/v1/todos/restore")).json()["affected"] == 1
    texts = superuser.execute("SELECT title FROM todo WHERE user_id = %s", [alice.user]).fetchall()
    assert texts == [("kept",)], "no text of it stays"
    again = await alice.send("PUT", path(first), json_body={"title": "again"})
    assert again.status_code == 201
    await alice.send("DELETE", path(first))
    assert (await alice.send("DELETE", "/v1/todos?deleted=true")).json()["affected"] == 1
    assert [item["id"] for item in (await alice.get(f"/v1/changes?since={since}")).json()["items"]] == [
        second["id"],
        kept["id"],
        first["id"],
    ]


async def test_bulk_deletions_restores_changes_stats_and_erasure_are_one_round_trip(database_url: str) -> None:
    async with relay(database_url) as counted, running(counted.url, pool_size=1) as service:
        alice = service.user()
        todo = await alice.create(tags=["a"])
        steps = [
            ("GET", "/v1/stats", 200),
            ("GET", "/v1/changes", 200),
            ("DELETE", "/v1/todos?tag=a&q=x", 200),
            ("DELETE", "/v1/todos", 200),
            ("POST", "/v1/todos/restore?tag=a&q=x&deleted_after=2020-01-01T00:00:00Z", 200),
            ("DELETE", "/v1/todos?deleted=true&q=x", 200),
            ("POST", f"{path(todo)}/restore", 200),
            ("POST", f"{path(todo)}/restore", 200),
            ("POST", f"/v1/todos/{uuid4()}/restore", 404),
            ("DELETE", "/v1/me", 204),
            ("GET", "/v1/stats", 200),
            ("GET", "/v1/changes", 200),
        ]
        for method, target, status in steps:
            before = counted.turns
            assert (await alice.send(method, target)).status_code == status
            assert counted.turns - before == 1, (method, target)


async def test_a_clock_that_was_set_back_keeps_nobody_from_changing(
    alice: Client, superuser: psycopg.Connection
) -> None:
    todo = await alice.create()
    ahead = "UPDATE todo SET created_at = now() + interval '1 hour', updated_at = now() + interval '1 hour'"
    superuser.execute(f"{ahead} WHERE user_id = %s".encode(), [alice.user])
    assert (await alice.send("PATCH", path(todo), json_body={"order": 1})).status_code == 200
    assert (await alice.send("DELETE", path(todo))).status_code == 204
    assert (await alice.send("POST", f"{path(todo)}/restore")).status_code == 200
    assert (await alice.send("DELETE", "/v1/todos")).json()["affected"] == 1
    (deleted,) = (await alice.get("/v1/todos?deleted=true")).json()
    assert deleted["deleted_at"] == deleted["updated_at"] == deleted["created_at"]
    assert deleted["version"] == todo["version"] + 4
