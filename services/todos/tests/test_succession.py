"""Completing a recurring todo: the next one, once, in the same transaction."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from services.todos.tests.assertions import assert_problem
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, running

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)


def text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


async def change(client: Client, todo: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = await client.send("PATCH", f"/v1/todos/{todo['id']}", json_body=changes)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


async def read(client: Client, todo_id: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/todos/{todo_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def count(client: Client) -> int:
    return len((await client.get("/v1/todos?limit=200")).json())


async def test_completing_creates_the_next_one_with_all_that_was_set_but_completed(alice: Client) -> None:
    fields = {
        "title": "Water the plants",
        "description": "Two cups each",
        "priority": "high",
        "tags": ["home", "green"],
        "due_date": text(TOMORROW),
        "timezone": "Europe/Berlin",
        "recurrence": "FREQ=DAILY;INTERVAL=2",
        "order": 7,
    }
    todo = await alice.create(**fields)
    assert todo["next_id"] is None
    done = await change(alice, todo, completed=True)
    following = await read(alice, done["next_id"])
    local = TOMORROW.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None) + timedelta(days=2)
    assert following == {
        **following,
        **fields,
        "due_date": text(local.replace(tzinfo=ZoneInfo("Europe/Berlin"))),
        "completed": False,
        "completed_at": None,
        "next_id": None,
        "deleted_at": None,
    }
    assert following["created_at"] >= todo["created_at"]


async def test_the_completed_one_and_its_successor_take_a_number_each(alice: Client) -> None:
    todo = await alice.create(due_date="2026-01-01", recurrence="FREQ=DAILY")
    done = await change(alice, todo, completed=True)
    following = await read(alice, done["next_id"])
    assert (done["version"], following["version"]) == (todo["version"] + 1, todo["version"] + 2)
    assert (await alice.get("/v1/todos")).headers["etag"] == f'W/"{following["version"]}"'
    assert (await alice.create())["version"] == todo["version"] + 3


async def test_an_overdue_one_is_followed_by_the_first_occurrence_that_is_not_overdue(alice: Client) -> None:
    todo = await alice.create(due_date="2001-01-01", recurrence="FREQ=DAILY")
    today = datetime.now(UTC).date()
    following = await read(alice, (await change(alice, todo, completed=True))["next_id"])
    assert today <= date.fromisoformat(following["due_date"]) <= datetime.now(UTC).date()


async def test_the_last_day_of_a_rule_comes_though_the_day_before_is_ticked_on_it(alice: Client) -> None:
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    rule = f"FREQ=DAILY;UNTIL={datetime.now(UTC).date() + timedelta(days=1):%Y%m%d}"
    todo = await alice.create(due_date=yesterday.isoformat(), recurrence=rule)
    following = await read(alice, (await change(alice, todo, completed=True))["next_id"])
    assert today <= date.fromisoformat(following["due_date"]) <= datetime.now(UTC).date()


async def test_a_rule_that_never_occurs_is_refused_and_one_that_ends_completes(alice: Client) -> None:
    body = {"title": "x", "due_date": "2026-01-01", "recurrence": "FREQ=MONTHLY;BYDAY=53MO"}
    answer = await alice.send("POST", "/v1/todos", json_body=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/recurrence")
    seldom = "FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29"
    todo = await alice.create(due_date="2026-01-01", recurrence=seldom)
    assert (await change(alice, todo, completed=True))["next_id"] is None


async def test_one_done_early_is_followed_by_the_first_occurrence_after_its_due_date(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-31", recurrence="FREQ=MONTHLY")
    following = await read(alice, (await change(alice, todo, completed=True))["next_id"])
    assert following["due_date"] == "2999-03-31"


async def test_a_put_completes_too(alice: Client) -> None:
    body = {"title": "x", "due_date": "2999-01-01", "recurrence": "FREQ=YEARLY"}
    todo = await alice.create(**body)
    answer = await alice.send("PUT", f"/v1/todos/{todo['id']}", json_body={**body, "completed": True})
    assert (await read(alice, answer.json()["next_id"]))["due_date"] == "3000-01-01"


async def test_a_put_that_creates_a_completed_one_creates_nothing_else(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY", completed=True)
    assert todo["next_id"] is None
    body = {"title": "x", "due_date": "2999-01-01", "recurrence": "FREQ=DAILY", "completed": True}
    answer = await alice.send("PUT", "/v1/todos/0192f672-b56e-7c11-8f5e-3b1d2a6c9e04", json_body=body)
    assert (answer.status_code, answer.json()["next_id"]) == (201, None)
    assert (await change(alice, todo, title="y"))["next_id"] is None
    assert await count(alice) == 2


async def test_completing_again_creates_no_second_one(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    first = await change(alice, todo, completed=True)
    assert (await change(alice, todo, completed=True, title="y"))["next_id"] == first["next_id"]
    assert await count(alice) == 2


async def test_taking_a_completion_back_deletes_the_successor_that_is_as_it_was_made(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    done = await change(alice, todo, completed=True)
    await change(alice, todo, title="touched since")
    since = (await alice.get("/v1/changes")).json()["next_since"]
    back = await change(alice, todo, completed=False)
    assert (back["next_id"], back["completed_at"]) == (None, None)
    assert (await alice.get(f"/v1/todos/{done['next_id']}")).status_code == 404
    changed, gone = (await alice.get(f"/v1/changes?since={since}")).json()["items"]
    assert changed == back
    assert gone == {"id": done["next_id"], "deleted_at": gone["deleted_at"], "version": back["version"] + 1}
    await change(alice, todo, due_date="2999-02-01", recurrence="FREQ=WEEKLY")
    again = await change(alice, todo, completed=True)
    assert again["next_id"] != done["next_id"]
    following = await read(alice, again["next_id"])
    assert (following["due_date"], following["recurrence"]) == ("2999-02-08", "FREQ=WEEKLY")
    assert await count(alice) == 2


async def test_taking_a_completion_back_leaves_a_successor_that_was_changed(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    done = await change(alice, todo, completed=True)
    following = await change(alice, await read(alice, done["next_id"]), title="changed")
    assert (await change(alice, todo, completed=False))["next_id"] == done["next_id"]
    for completed in (False, True):
        following = await change(alice, following, completed=completed)
        assert (await change(alice, todo, completed=True))["next_id"] == done["next_id"]
        assert (await change(alice, todo, completed=False))["next_id"] == done["next_id"]
    assert await count(alice) == 3


async def test_a_successor_that_was_deleted_is_followed_by_another_when_it_is_completed_again(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    done = await change(alice, todo, completed=True)
    assert (await alice.send("DELETE", f"/v1/todos/{done['next_id']}")).status_code == 204
    assert (await change(alice, todo, completed=False))["next_id"] == done["next_id"]
    put = await alice.send("PUT", f"/v1/todos/{todo['id']}", json_body={**todo, "completed": True})
    assert (await read(alice, put.json()["next_id"]))["due_date"] == "2999-01-02"
    assert await count(alice) == 2
    assert (await alice.send("DELETE", f"/v1/todos/{put.json()['next_id']}")).status_code == 204
    await change(alice, todo, completed=False)
    assert (await change(alice, todo, completed=True, recurrence=None))["next_id"] is None


async def test_a_successor_that_was_deleted_and_restored_is_not_as_it_was_made(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    done = await change(alice, todo, completed=True)
    await alice.send("DELETE", f"/v1/todos/{done['next_id']}")
    assert (await alice.send("POST", f"/v1/todos/{done['next_id']}/restore")).status_code == 200
    put = await alice.send("PUT", f"/v1/todos/{todo['id']}", json_body={**todo, "completed": False})
    assert put.json()["next_id"] == done["next_id"]
    assert await count(alice) == 2


async def test_two_that_complete_at_once_create_one_successor(alice: Client, superuser: psycopg.Connection) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    answers = await asyncio.gather(*(change(alice, todo, completed=True, order=number) for number in range(8)))
    assert len({answer["next_id"] for answer in answers}) == 1
    assert await count(alice) == 2
    found = superuser.execute("SELECT live_count FROM user_state WHERE user_id = %s", [alice.user]).fetchone()
    assert found == (2,)


async def test_count_is_one_less_each_time_until_the_last_which_nothing_follows(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY;COUNT=3")
    second = await read(alice, (await change(alice, todo, completed=True))["next_id"])
    third = await read(alice, (await change(alice, second, completed=True))["next_id"])
    assert [todo["recurrence"] for todo in (second, third)] == ["FREQ=DAILY;COUNT=2", "FREQ=DAILY;COUNT=1"]
    assert (await change(alice, third, completed=True))["next_id"] is None
    assert await count(alice) == 3


async def test_nothing_follows_past_until(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY;UNTIL=29990102")
    second = await read(alice, (await change(alice, todo, completed=True))["next_id"])
    assert second["due_date"] == "2999-01-02"
    assert second["recurrence"] == todo["recurrence"]
    assert (await change(alice, second, completed=True))["next_id"] is None


async def test_a_rule_without_further_occurrences_ends_and_the_todo_is_completed(alice: Client) -> None:
    for rule in ("FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31", "FREQ=DAILY;INTERVAL=7;BYDAY=SA"):
        todo = await alice.create(due_date="2999-02-01", recurrence=rule)
        done = await change(alice, todo, completed=True)
        assert (done["completed"], done["next_id"]) == (True, None)


async def test_the_wall_clock_time_survives_a_gap_in_the_series(alice: Client) -> None:
    # Europe/Berlin skips 02:00 to 03:00 on 2999-03-31
    todo = await alice.create(due_date="2999-03-30T01:30:00Z", timezone="Europe/Berlin", recurrence="FREQ=DAILY")
    dues = []
    for _ in range(3):
        todo = await read(alice, (await change(alice, todo, completed=True))["next_id"])
        todo = await change(alice, todo, title="touched")
        dues.append(todo["due_date"])
    assert dues == ["2999-03-31T01:30:00Z", "2999-04-01T00:30:00Z", "2999-04-02T00:30:00Z"]


async def test_a_due_date_set_again_is_the_wall_clock_time_from_then_on(alice: Client) -> None:
    todo = await alice.create(due_date="2999-03-30T01:30:00Z", timezone="Europe/Berlin", recurrence="FREQ=DAILY")
    todo = await read(alice, (await change(alice, todo, completed=True))["next_id"])
    await change(alice, todo, due_date="2999-03-31T02:30:00Z")
    todo = await change(alice, todo, due_date="2999-03-31T01:30:00Z")
    following = await read(alice, (await change(alice, todo, completed=True))["next_id"])
    assert following["due_date"] == "2999-04-01T01:30:00Z"


async def test_successors_are_not_refused_by_the_quota_but_count(
    alice: Client, monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    superuser.execute("UPDATE user_state SET live_count = 10000 WHERE user_id = %s", [alice.user])
    assert (await change(alice, todo, completed=True))["next_id"]
    found = superuser.execute("SELECT live_count FROM user_state WHERE user_id = %s", [alice.user]).fetchone()
    assert found == (10001,)
    refused = await alice.send("POST", "/v1/todos", json_body={"title": "x"})
    assert refused.json()["code"] == "quota"


async def test_nothing_is_created_where_a_precondition_fails(alice: Client) -> None:
    todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    answer = await alice.send(
        "PATCH", f"/v1/todos/{todo['id']}", json_body={"completed": True}, headers={"if-match": '"1"'}
    )
    assert answer.status_code == 412
    assert await count(alice) == 1


async def test_completing_takes_two_round_trips(database_url: str) -> None:
    async with relay(database_url) as relayed, running(relayed.url, pool_size=1) as service:
        alice = service.user()
        todo = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
        before = relayed.turns
        await change(alice, todo, completed=True)
        assert relayed.turns - before <= 2
        await change(alice, todo, completed=False)
        assert relayed.turns - before <= 4


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"recurrence": "FREQ=DAILY"}, "needs a due_date"),
        ({"recurrence": "FREQ=DAILY;UNTIL=20300101", "due_date": "2026-01-01T00:00:00Z"}, "UNTIL"),
        ({"recurrence": "FREQ=DAILY;UNTIL=20300101T000000Z", "due_date": "2026-01-01"}, "UNTIL"),
        ({"recurrence": "FREQ=HOURLY", "due_date": "2026-01-01"}, "FREQ"),
        ({"recurrence": 7, "due_date": "2026-01-01"}, "string"),
    ],
)
async def test_a_rule_that_does_not_go_with_its_due_date_is_refused(
    alice: Client, fields: dict[str, Any], detail: str
) -> None:
    answer = await alice.send("POST", "/v1/todos", json_body={"title": "x", **fields})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == "/recurrence"
    assert detail in answer.json()["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("fields", "changes", "pointer"),
    [
        ({"due_date": "0001-01-01"}, {"timezone": "Asia/Tokyo"}, "/due_date"),
        (
            {"due_date": "2026-01-01", "recurrence": "FREQ=DAILY;UNTIL=20990101"},
            {"due_date": "2026-01-01T00:00:00Z"},
            "/recurrence",
        ),
        ({"due_date": "2026-01-01"}, {"due_date": None}, "/recurrence"),
    ],
)
async def test_completing_with_a_change_that_does_not_go_with_the_rest_is_refused(
    alice: Client, fields: dict[str, Any], changes: dict[str, Any], pointer: str
) -> None:
    todo = await alice.create(**{"recurrence": "FREQ=DAILY", **fields})
    answer = await alice.send("PATCH", f"/v1/todos/{todo['id']}", json_body={"completed": True, **changes})
    assert_problem(answer, 422, "invalid")
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert await count(alice) == 1


async def test_a_recurring_todo_cannot_lose_its_due_date_alone(alice: Client) -> None:
    todo = await alice.create(due_date="2026-01-01", recurrence="freq=weekly;interval=01;byday=th,MO")
    assert todo["recurrence"] == "FREQ=WEEKLY;BYDAY=MO,TH"
    refused = await alice.send("PATCH", f"/v1/todos/{todo['id']}", json_body={"due_date": None})
    assert refused.status_code == 422
    changed = await change(alice, todo, due_date=None, recurrence=None)
    assert (changed["due_date"], changed["recurrence"]) == (None, None)
