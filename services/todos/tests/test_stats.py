"""Figures about a user's live todos."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.todos.tests.assertions import assert_problem, path
from services.todos.tests.serving import Client
from todos.store import stats

NOTHING = {
    "total": 0,
    "open": 0,
    "completed": 0,
    "overdue": 0,
    "by_priority": {"none": 0, "low": 0, "medium": 0, "high": 0, "urgent": 0},
    "tags": [],
}


async def figures(client: Client) -> dict[str, Any]:
    answer = await client.get("/v1/stats")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, no-cache"
    document: dict[str, Any] = answer.json()
    assert list(document) == list(NOTHING)
    return document


async def test_a_user_without_todos_has_noughts(alice: Client) -> None:
    assert await figures(alice) == NOTHING


async def test_live_todos_are_counted_and_deleted_ones_are_not(alice: Client, bob: Client) -> None:
    await alice.create(priority="high", tags=["a", "b"])
    await alice.create(priority="high", tags=["b"], completed=True)
    await alice.create(tags=["ä"])
    gone = await alice.create(priority="low", tags=["gone"], due_date="2020-01-01")
    await alice.send("DELETE", path(gone))
    await bob.create(priority="urgent", tags=["his"])
    assert await figures(alice) == {
        "total": 3,
        "open": 2,
        "completed": 1,
        "overdue": 0,
        "by_priority": {"none": 1, "low": 0, "medium": 0, "high": 2, "urgent": 0},
        "tags": [{"tag": "b", "count": 2}, {"tag": "a", "count": 1}, {"tag": "ä", "count": 1}],
    }


async def test_the_100_most_used_tags_are_told_ties_in_code_point_order(alice: Client) -> None:
    names = [f"{letter}{number:02}" for letter in ("T", "t", "é", "😀") for number in range(30)]
    for start in range(0, len(names), 20):
        await alice.create(tags=names[start : start + 20])
    await alice.create(tags=["😀29", "often"])
    await alice.create(tags=["often", "😀29"])
    tags = (await figures(alice))["tags"]
    assert tags[:2] == [{"tag": "😀29", "count": 3}, {"tag": "often", "count": 2}]
    assert [tag["tag"] for tag in tags[2:]] == sorted(names)[:98]


async def test_a_moment_that_has_passed_is_overdue_unless_completed(alice: Client) -> None:
    await alice.create(due_date="2020-01-01T00:00:00Z")
    await alice.create(due_date="2020-01-01T00:00:00Z", completed=True)
    await alice.create(due_date="9999-01-01T00:00:00Z")
    await alice.create(due_date=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    await alice.create(due_date=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    await alice.create()
    assert (await figures(alice))["overdue"] == 2


async def test_an_all_day_date_is_overdue_from_the_next_midnight_in_its_time_zone(alice: Client) -> None:
    zones = ("UTC", "Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu")
    for zone in zones:
        today = datetime.now(ZoneInfo(zone)).date()
        for days in (-400, -3, -2, -1, 0, 1, 400):
            await alice.create(due_date=(today + timedelta(days=days)).isoformat(), timezone=zone)
    before = [datetime.now(ZoneInfo(zone)).date() for zone in zones]
    overdue = (await figures(alice))["overdue"]
    if before == [datetime.now(ZoneInfo(zone)).date() for zone in zones]:
        assert overdue in (4 * len(zones), 4 * len(zones) + 1), "midnight may have passed while they were made"
    await alice.create(due_date="9999-12-31")
    await alice.create(due_date="0001-01-01")
    assert (await figures(alice))["overdue"] == overdue + 1


@pytest.mark.parametrize(
    ("day", "zone", "over_from"),
    [
        ("2026-03-01", "UTC", "2026-03-02T00:00:00+00:00"),
        ("2026-03-29", "Europe/Berlin", "2026-03-29T22:00:00+00:00"),
        ("2026-10-25", "Europe/Berlin", "2026-10-25T23:00:00+00:00"),
        ("2011-12-29", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
        ("2018-11-03", "America/Sao_Paulo", "2018-11-04T03:00:00+00:00"),
    ],
)
def test_the_next_midnight_heeds_the_clock_changes(day: str, zone: str, over_from: str) -> None:
    moment = datetime.fromisoformat(over_from)
    assert stats._is_over(day, zone, moment)
    assert not stats._is_over(day, zone, moment - timedelta(microseconds=1))


async def test_stats_take_no_parameters(alice: Client) -> None:
    assert_problem(await alice.get("/v1/stats?completed=true"), 422, "invalid")
