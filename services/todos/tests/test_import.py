"""What an export wrote comes back, every todo or none."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.todos.tests.assertions import assert_problem, assert_unavailable
from services.todos.tests.portability import kept, todos, uniquely
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, Running, running
from todos.http import client_presence
from todos.portability.import_ import PIECE_CHARACTERS, PIECE_ITEMS, pieces


async def take(client: Client, items: Any) -> dict[str, int]:
    answer = await client.send("POST", "/v1/import", json_body=items)
    assert answer.status_code == 200, answer.text
    counted: dict[str, int] = answer.json()
    return counted


async def exported(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/export{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def waiting_for_a_lock(superuser: psycopg.Connection) -> None:
    while not superuser.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.01)


def item(**fields: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "title": "a todo", **fields}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(todos(), max_size=6).map(uniquely))
async def test_export_then_import_is_the_identity(service: Running, items: list[dict[str, Any]]) -> None:
    alice, bob = service.user(), service.user()
    assert await take(alice, items) == {"created": len(items), "updated": 0}
    first = await exported(alice)
    await take(bob, first)
    second = await exported(bob)
    assert kept(first) == kept(second), "in their order too"
    assert await take(bob, second) == {"created": 0, "updated": len(items)}
    assert kept(await exported(bob)) == kept(first)
    for given_item, found in zip(items, kept(first), strict=True):
        assert {**found, "due_date": None} == {**given_item, "due_date": None}


async def test_a_thousand_todos_come_back_as_they_were(alice: Client, bob: Client) -> None:
    items = [
        item(title=f"todo {number}", order=number, tags=[f"t{number % 7}"], completed=number % 3 == 0)
        for number in range(1000)
    ]
    assert await take(alice, items) == {"created": 1000, "updated": 0}
    first = await exported(alice)
    assert [todo["order"] for todo in first] == list(range(1000))
    await take(bob, first)
    assert kept(await exported(bob)) == kept(first)
    assert (await bob.get("/v1/stats")).json()["total"] == 1000


async def test_each_todo_takes_a_number_in_the_order_of_the_import(alice: Client) -> None:
    before = await alice.create()
    items = [item(), {**before, "title": "replaced"}, item()]
    assert await take(alice, items) == {"created": 2, "updated": 1}
    found = {todo["id"]: todo for todo in await exported(alice)}
    assert [found[given["id"]]["version"] - before["version"] for given in items] == [1, 2, 3]
    assert (await alice.get("/v1/todos")).headers["etag"] == f'W/"{before["version"] + 3}"'


async def test_a_todo_that_is_there_is_replaced_whole(alice: Client) -> None:
    todo = await alice.create(description="long", tags=["a"], priority="high", completed=True)
    await take(alice, [{"id": todo["id"], "title": "short", "completed": True}])
    (found,) = await exported(alice)
    assert (found["title"], found["description"], found["tags"], found["priority"]) == ("short", "", [], "none")
    assert (found["created_at"], found["completed_at"]) == (todo["created_at"], todo["completed_at"])
    assert found["updated_at"] > todo["updated_at"]


async def test_what_the_server_sets_is_ignored(alice: Client, bob: Client) -> None:
    todo = await alice.create(completed=True)
    await take(bob, [{**todo, "deleted_at": "2020-01-01T00:00:00Z", "next_id": str(uuid4()), "version": 1}])
    (found,) = await exported(bob)
    assert found["deleted_at"] is found["next_id"] is None
    assert found["version"] > todo["version"]
    assert found["created_at"] > todo["created_at"]


async def test_a_deleted_todo_comes_back_to_life(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create()
    await alice.send("DELETE", f"/v1/todos/{todo['id']}")
    assert await take(alice, [todo]) == {"created": 0, "updated": 1}
    assert (await alice.get(f"/v1/todos/{todo['id']}")).json()["deleted_at"] is None
    found = superuser.execute("SELECT live_count FROM user_state WHERE user_id = %s", [alice.user]).fetchone()
    assert found == (1,)


async def test_an_import_completes_nothing(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    await take(alice, [{**todo, "completed": True}])
    (found,) = await exported(alice)
    assert (found["completed"], found["next_id"]) == (True, None)


async def test_one_bad_todo_keeps_all_the_others_out(alice: Client) -> None:
    todo = await alice.create(title="before")
    items = [{**todo, "title": "after"}, item(), item(title=""), item()]
    answer = await alice.send("POST", "/v1/import", json_body=items)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/2/title"]
    assert await exported(alice) == [todo]


@pytest.mark.parametrize(
    ("items", "pointer"),
    [
        ({"items": []}, ""),
        ([7], "/0"),
        ([{"title": "x"}], "/0/id"),
        ([item(), item(id="0192F672-B56E-7C11-8F5E-3B1D2A6C9E04")], "/1/id"),
        ([item(id=7)], "/0/id"),
        ([item(), item(user_id="bob")], "/1/user_id"),
        ([item(tags=["a", "a,b"])], "/0/tags/1"),
        ([item(due_date="tomorrow")], "/0/due_date"),
        ([item(due_date="0001-01-01", timezone="Asia/Tokyo")], "/0/due_date"),
        ([item(recurrence="FREQ=DAILY")], "/0/recurrence"),
        ([item(id="0192f672-b56e-7c11-8f5e-3b1d2a6c9e04")] * 2, "/1/id"),
    ],
)
async def test_what_breaks_the_contract_is_pointed_at(alice: Client, items: Any, pointer: str) -> None:
    answer = await alice.send("POST", "/v1/import", json_body=items)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


async def test_no_more_than_fifty_faults_are_told(alice: Client) -> None:
    answer = await alice.send("POST", "/v1/import", json_body=[item(title="") for _ in range(80)])
    assert len(answer.json()["errors"]) == 50


@pytest.mark.parametrize("count", [60, 520_000])
async def test_of_unknown_members_the_first_fifty_are_pointed_at(alice: Client, count: int) -> None:
    members = ",".join(f'"{number}":1' for number in range(count))
    body = f'[{{"id":"{uuid4()}","title":"fine"}},{{"id":"{uuid4()}",{members[: 5 * 1024 * 1024 - 200]}'.encode()
    body = body.rpartition(b",")[0] + b"}]"
    answer = await alice.send("POST", "/v1/import", body=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    found = [fault["pointer"] for fault in answer.json()["errors"]]
    assert len(found) == 50
    assert "/1/0" in found
    assert all(pointer.startswith("/1/") for pointer in found)


async def test_an_array_in_a_todo_that_is_too_long_is_pointed_at(alice: Client) -> None:
    answer = await alice.send("POST", "/v1/import", json_body=[item(), item(title=""), item(url=[1] * 100_000)])
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/1/title", "/2/url"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[", {"content-type": "application/json"}, 400),
        (b'[{"id": 1, "id": 2}]', {"content-type": "application/json"}, 400),
        (b"[]", {"content-type": "text/csv"}, 415),
        (b"[]", {}, 415),
    ],
)
async def test_another_body_is_refused(alice: Client, body: bytes, headers: dict[str, str], status: int) -> None:
    assert (await alice.send("POST", "/v1/import", body=body, headers=headers)).status_code == status


async def test_it_takes_no_parameters(alice: Client) -> None:
    answer = await alice.send("POST", "/v1/import?dry_run=true", json_body=[])
    assert answer.json()["errors"] == [{"parameter": "dry_run", "detail": "is not a parameter of this route"}]


async def test_five_mebibytes_are_taken_there_and_nowhere_else(alice: Client) -> None:
    items = [item(description="x" * 10_000) for _ in range(517)]
    body = json.dumps(items).encode()
    padded = body + b" " * (5 * 1024 * 1024 - len(body))
    headers = {"content-type": "application/json"}
    answer = await alice.send("POST", "/v1/import", body=padded, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"created": 517, "updated": 0})
    larger = await alice.send("POST", "/v1/import", body=padded + b" ", headers=headers)
    assert (larger.status_code, larger.json()["code"]) == (413, "content_too_large")
    elsewhere = await alice.send("POST", "/v1/todos", body=padded, headers=headers)
    assert elsewhere.status_code == 413


async def test_the_quota_is_judged_on_the_result(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create()
    gone = await alice.create()
    await alice.send("DELETE", f"/v1/todos/{gone['id']}")

    def live(count: int) -> None:
        superuser.execute("UPDATE user_state SET live_count = %s WHERE user_id = %s", [count, alice.user])

    live(9999)
    assert await take(alice, [todo, item()]) == {"created": 1, "updated": 1}
    assert await take(alice, [todo]) == {"created": 0, "updated": 1}
    for refused in ([item()], [gone], [todo, gone, item()]):
        answer = await alice.send("POST", "/v1/import", json_body=refused)
        assert (answer.status_code, answer.json()["code"]) == (409, "quota")
    assert len(await exported(alice)) == 2
    live(10_005)
    assert await take(alice, [{**todo, "title": "still mine"}]) == {"created": 0, "updated": 1}


async def test_ten_thousand_are_taken_and_one_more_is_not(alice: Client) -> None:
    items = [item(title="x") for _ in range(10_000)]
    refused = await alice.send("POST", "/v1/import", json_body=[*items, item()])
    assert (refused.status_code, refused.json()["code"]) == (409, "quota")
    assert await take(alice, items) == {"created": 10_000, "updated": 0}


@pytest.mark.parametrize(("count", "round_trips"), [(0, 1), (1, 2), (PIECE_ITEMS, 2), (2 * PIECE_ITEMS + 1, 4)])
async def test_an_import_takes_a_round_trip_a_piece_and_one_to_commit(
    database_url: str, count: int, round_trips: int
) -> None:
    async with relay(database_url) as relayed, running(relayed.url, pool_size=1) as service:
        alice = service.user()
        await alice.create()
        before = relayed.turns
        await take(alice, [item() for _ in range(count)])
        assert relayed.turns - before == round_trips


@given(
    lengths=st.lists(st.integers(0, 10_000) | st.integers(0, 200), max_size=60)
    | st.integers(0, 3 * PIECE_ITEMS).map(lambda count: [7] * count)
)
def test_the_pieces_of_an_import_are_bounded_and_together_the_whole(lengths: list[int]) -> None:
    items = [{"id": str(number), "description": "é" * length} for number, length in enumerate(lengths)]
    found: list[dict[str, Any]] = []
    for text, count in pieces(items):
        piece = json.loads(text)
        assert 1 <= len(piece) == count <= PIECE_ITEMS
        assert len(text) - len(json.dumps(piece[-1], ensure_ascii=False)) <= PIECE_CHARACTERS + count
        assert [given_item.pop("position") for given_item in piece] == list(range(1, count + 1))
        found += piece
    assert found == items


async def test_the_pieces_are_one_change(alice: Client) -> None:
    items = [item(completed=True) for _ in range(2 * PIECE_ITEMS + 1)]
    await take(alice, items)
    found = await exported(alice)
    assert [todo["id"] for todo in found] == [given_item["id"] for given_item in items]
    assert [todo["version"] - found[0]["version"] for todo in found] == list(range(len(items)))
    assert len({todo["updated_at"] for todo in found}) == len({todo["completed_at"] for todo in found}) == 1
    assert len({todo["created_at"] for todo in found}) == len(items)


async def test_what_a_later_piece_breaks_undoes_those_before(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create()
    superuser.execute("UPDATE user_state SET live_count = 9000 WHERE user_id = %s", [alice.user])
    answer = await alice.send("POST", "/v1/import", json_body=[item() for _ in range(2 * PIECE_ITEMS + 1)])
    assert (answer.status_code, answer.json()["code"]) == (409, "quota")
    assert await exported(alice) == [todo]
    assert await take(alice, [item()]) == {"created": 1, "updated": 0}


async def test_an_import_ends_when_its_caller_leaves(database_url: str, superuser: psycopg.Connection) -> None:
    """Its connection serves others at once, and nothing of it stays."""
    async with running(database_url, pool_size=1, statement_timeout=60) as service:
        alice, bob = service.user(), service.user()
        await alice.create()
        body = json.dumps([item()]).encode()
        request = alice.signed("POST", "/v1/import", body, {"content-type": "application/json"})
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            importing = asyncio.create_task(alice.http.send(request))
            await waiting_for_a_lock(superuser)
            importing.cancel()
            await bob.create()
        assert len(await exported(alice)) == 1


async def test_a_second_import_of_a_user_is_429_and_one_of_another_user_is_taken(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, pool_size=6, statement_timeout=60) as service:
        alice, bob = service.user(), service.user()
        await alice.create()
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            importing = asyncio.create_task(take(alice, [item()]))
            await waiting_for_a_lock(superuser)
            refused = await alice.send("POST", "/v1/import", json_body=[item()])
            assert_problem(refused, 429, "rate_limited")
            assert refused.json()["violated-policies"] == ["user-import"]
            assert int(refused.headers["retry-after"]) > 0
            assert await take(bob, [item()]) == {"created": 1, "updated": 0}
        assert await importing == {"created": 1, "updated": 0}
        assert service.registry.get_sample_value("todos_share_refusals_total", {"policy": "user-import"}) == 1
        assert await take(alice, [item()]) == {"created": 1, "updated": 0}


async def test_a_second_import_waits_for_the_end_of_the_first(alice: Client) -> None:
    taken = await asyncio.gather(*(take(alice, [item()]) for _ in range(4)))
    assert taken == [{"created": 1, "updated": 0}] * 4


async def test_imports_of_many_users_leave_connections_to_other_requests(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, pool_size=3, statement_timeout=60) as service:
        alice, *others, bob = (service.user() for _ in range(6))
        await alice.create()
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            importing = asyncio.create_task(take(alice, [item()]))
            await waiting_for_a_lock(superuser)
            waiting = [asyncio.create_task(take(other, [item()])) for other in others]
            await bob.create()
        assert [await task for task in (importing, *waiting)] == [{"created": 1, "updated": 0}] * 5


async def test_an_import_ends_with_its_time(
    database_url: str, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_presence, "MAX_SECONDS", 0.1)
    async with running(database_url, pool_size=1, statement_timeout=60) as service:
        alice = service.user()
        await alice.create()
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            answer = await alice.send("POST", "/v1/import", json_body=[item()])
            assert_unavailable(answer, "overloaded")
        assert len(await exported(alice)) == 1


async def test_imports_at_once_leave_no_gap_in_the_numbers(alice: Client, superuser: psycopg.Connection) -> None:
    shared = [item() for _ in range(5)]
    await asyncio.gather(*(take(alice, [*shared, *(item() for _ in range(5))]) for _ in range(6)))
    versions = sorted(todo["version"] for todo in await exported(alice))
    assert len(versions) == len(set(versions)) == 35
    found = superuser.execute("SELECT seq, live_count FROM user_state WHERE user_id = %s", [alice.user]).fetchone()
    assert found == (versions[-1], 35)


async def test_two_users_may_import_the_same_ids(alice: Client, bob: Client) -> None:
    hers = await alice.create(title="hers")
    assert await take(bob, [{**hers, "title": "his"}]) == {"created": 1, "updated": 0}
    assert await exported(alice) == [hers]
    assert [todo["title"] for todo in await exported(bob)] == ["his"]
