"""Lists: filters, sorts, and pages that together are the whole list."""

import asyncio
import itertools
import random
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.todos.tests.assertions import assert_problem, assert_unavailable
from services.todos.tests.serving import Client, Running, running
from todos.domain.fields import PRIORITIES
from todos.store.list_statements import SORT_FIELDS

RANKS = {name: rank for rank, name in enumerate(PRIORITIES)}


async def titles(client: Client, query: str) -> list[str]:
    answer = await client.get(f"/v1/todos?{query}")
    assert answer.status_code == 200, answer.text
    return [todo["title"] for todo in answer.json()]


def next_target(answer: httpx.Response) -> str | None:
    link = answer.headers.get("link")
    if link is None:
        return None
    assert link.endswith('>; rel="next"')
    return str(link.removeprefix("<").removesuffix('>; rel="next"'))


async def all_pages(client: Client, query: str) -> list[dict[str, Any]]:
    target: str | None = f"/v1/todos?{query}"
    found: list[dict[str, Any]] = []
    while target:
        answer = await client.get(target)
        assert answer.status_code == 200, answer.text
        assert answer.json() or not found
        found += answer.json()
        target = next_target(answer)
    return found


async def many(client: Client, count: int) -> list[dict[str, Any]]:
    """Todos with many equal keys, and some without a due date."""
    choose = random.Random(7)
    return [
        await client.create(
            title=choose.choice(["b", "B", "a", "Ä", "z", "_", "😀", "10", "9"]),
            priority=choose.choice(PRIORITIES),
            order=choose.choice([-1, 0, 0, 7]),
            due_date=choose.choice(
                [None, None, "2026-03-01", "2026-03-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "0001-01-01", "9999-12-31"]
            ),
            completed=choose.random() < 0.5,
            tags=choose.sample(["x", "y", "z"], choose.randrange(4)),
        )
        for _ in range(count)
    ]


def expected_order(todos: list[dict[str, Any]], field: str, *, descending: bool) -> list[str]:
    def key(todo: dict[str, Any]) -> Any:
        value = todo[field]
        match field:
            case "priority":
                return RANKS[value]
            case "title":
                return value.lower()
            case "due_date":
                return (
                    f"{value}T00:00:00Z".replace("00Z", "00.000000Z")
                    if len(value) == 10
                    else value.replace("00Z", "00.000000Z")
                    if "." not in value
                    else value
                )
        return value

    present = sorted((t for t in todos if t[field] is not None), key=lambda t: (key(t), t["id"]), reverse=descending)
    absent = sorted((t for t in todos if t[field] is None), key=lambda t: t["id"], reverse=descending)
    return [todo["id"] for todo in present + absent]


async def test_pages_of_every_sort_are_the_whole_list_in_order(alice: Client) -> None:
    todos = await many(alice, 40)
    for field, hyphen in itertools.product(SORT_FIELDS, ("", "-")):
        expected = expected_order(todos, field, descending=bool(hyphen))
        for limit in (3, 200):
            found = await all_pages(alice, f"sort={hyphen}{field}&limit={limit}")
            assert [todo["id"] for todo in found] == expected, (field, hyphen, limit)


async def test_the_default_is_the_newest_first_and_fifty_of_them(alice: Client) -> None:
    created = [await alice.create() for _ in range(52)]
    answer = await alice.get("/v1/todos")
    assert [todo["id"] for todo in answer.json()] == [todo["id"] for todo in reversed(created)][:50]
    assert answer.headers["link"].startswith("</v1/todos?cursor=")
    assert len((await alice.get("/v1/todos?limit=52")).json()) == 52
    assert "link" not in (await alice.get("/v1/todos?limit=52")).headers


async def test_pages_stay_whole_while_todos_are_added_and_changed_before_them(alice: Client) -> None:
    first = [await alice.create(order=order) for order in range(6)]
    answer = await alice.get("/v1/todos?sort=order&limit=2")
    await alice.create(order=-1)
    target = next_target(answer)
    seen = answer.json()
    while target:
        answer = await alice.get(target)
        seen += answer.json()
        target = next_target(answer)
    assert [todo["id"] for todo in seen] == [todo["id"] for todo in first]


async def test_the_link_keeps_the_parameters_and_the_limit_may_change(alice: Client) -> None:
    for _ in range(4):
        await alice.create(tags=["it's & + more"], priority="high")
    query = f"tag={quote("it's & + more")}&priority=high&priority=low&sort=-title&limit=1"
    target = next_target(await alice.get(f"/v1/todos?{query}"))
    assert target
    assert target.startswith(
        "/v1/todos?tag=it%27s%20%26%20%2B%20more&priority=high&priority=low&sort=-title&limit=1&cursor="
    )
    assert len((await alice.get(target.replace("limit=1", "limit=200"))).json()) == 3


async def test_a_cursor_of_another_list_or_user_is_invalid(alice: Client, bob: Client) -> None:
    for client in (alice, bob):
        for _ in range(2):
            await client.create(tags=["a"])
    target = next_target(await alice.get("/v1/todos?limit=1&tag=a"))
    assert target
    cursor = target.partition("cursor=")[2]
    assert (await alice.get(target)).status_code == 200
    others = [
        (bob, f"limit=1&tag=a&cursor={cursor}"),
        (alice, f"limit=1&cursor={cursor}"),
        (alice, f"limit=1&tag=a&sort=created_at&cursor={cursor}"),
        (alice, f"limit=1&tag=a&deleted=true&cursor={cursor}"),
        (alice, f"limit=1&tag=a&cursor={cursor[:-1]}"),
        (alice, f"limit=1&tag=a&cursor={cursor}&cursor={cursor}"),
    ]
    for client, query in others:
        answer = await client.get(f"/v1/todos?{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["parameter"] == "cursor"


async def test_filters_choose_and_combine(alice: Client) -> None:
    await alice.create(title="1", completed=True, priority="high", tags=["a", "b"], due_date="2026-03-01")
    await alice.create(title="2", priority="low", tags=["a"], due_date="2026-03-01T12:00:00Z")
    await alice.create(title="3", priority="urgent", tags=["b"], due_date="2026-03-02")
    await alice.create(title="4", description="nothing")
    cases = {
        "": ["1", "2", "3", "4"],
        "completed=true": ["1"],
        "completed=false": ["2", "3", "4"],
        "priority=high": ["1"],
        "priority=high&priority=urgent": ["1", "3"],
        "tag=a": ["1", "2"],
        "tag=a&tag=b": ["1"],
        "tag=A": [],
        "due_after=2026-03-01": ["1", "2", "3"],
        "due_after=2026-03-01T00:00:01Z": ["2", "3"],
        "due_before=2026-03-01": [],
        "due_before=2026-03-02": ["1", "2"],
        "due_after=2026-03-01T12:00:00Z&due_before=2026-03-01T14:00:00%2B02:00": [],
        "due_after=2026-03-01T12:00:00Z&due_before=2026-03-01T12:00:00.000001Z": ["2"],
        "completed=false&priority=low&tag=a&due_after=2026-03-01&due_before=2026-03-02&q=2": ["2"],
        "deleted=true": [],
        "deleted=false": ["1", "2", "3", "4"],
    }
    for query, expected in cases.items():
        assert await titles(alice, f"sort=title&{query}".rstrip("&")) == expected, query


async def test_an_all_day_date_is_midnight_in_its_time_zone(alice: Client) -> None:
    await alice.create(title="east", due_date="2026-03-01", timezone="Asia/Tokyo")
    await alice.create(title="west", due_date="2026-03-01", timezone="America/Los_Angeles")
    assert await titles(alice, "due_before=2026-03-01") == ["east"]
    assert await titles(alice, "sort=due_date") == ["east", "west"]


async def test_a_search_is_literal_and_without_case(alice: Client) -> None:
    for title in ("100%", "1000", "a_c", "abc", "back\\slash", "ÄRGER", "it's"):
        await alice.create(title=title, description=f"<{title}>")
    cases = {
        "%25": ["100%"],
        "0%25": ["100%"],
        "a_c": ["a_c"],
        "_": ["a_c"],
        "\\": ["back\\slash"],
        "ärger": ["ÄRGER"],
        "ABC": ["abc"],
        "'": ["it's"],
        "%3C100": ["100%", "1000"],
        "--": [],
    }
    for query, expected in cases.items():
        assert await titles(alice, f"sort=title&q={quote(query, safe='%')}") == expected, query


texts = st.text(st.sampled_from("aAbBäÄ€\\%_*.^$()[]{}|+?'\" ="), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(description=texts, data=st.data())
async def test_a_search_of_any_length_finds_what_stands_there_and_nothing_else(
    service: Running, description: str, data: st.DataObject
) -> None:
    client = service.user()
    await client.create(title="t", description=description)
    start = data.draw(st.integers(0, len(description) - 1))
    part = description[start : start + data.draw(st.integers(1, 60))].swapcase()
    for wanted in (part, data.draw(texts)):
        found = await titles(client, f"q={quote(wanted, safe='')}")
        assert found == (["t"] if wanted.lower() in description.lower() else []), wanted


@pytest.mark.parametrize("length", [16, 17, 100])
async def test_a_search_reads_title_and_description_each_for_itself(alice: Client, length: int) -> None:
    half = "x" * (length // 2)
    await alice.create(title=half, description="y" * length)
    await alice.create(title="whole", description=half + "y" * length)
    assert await titles(alice, f"q={half}{'y' * (length - len(half))}") == ["whole"]
    assert await titles(alice, f"q={'y' * length}&sort=title") == ["whole", half]


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/v1/todos?q=x"), ("GET", "/v1/export?q=x"), ("DELETE", "/v1/todos?q=x&completed=false")],
)
async def test_a_search_has_less_time_than_other_statements(
    database_url: str, superuser: psycopg.Connection, method: str, target: str
) -> None:
    async with running(database_url, statement_timeout=60, search_timeout=0.1) as service:
        alice = service.user()
        await alice.create()
        with superuser.transaction():
            superuser.execute("LOCK TABLE todo")
            listing = asyncio.create_task(alice.get("/v1/todos"))
            answer = await alice.send(method, target)
            assert_unavailable(answer, "database_timeout")
            assert not listing.done()
        assert (await listing).status_code == 200


async def test_searches_leave_connections_to_other_requests(database_url: str, superuser: psycopg.Connection) -> None:
    async with running(database_url, pool_size=3, statement_timeout=60, search_timeout=60) as service:
        alice, bob = service.user(), service.user()
        await alice.create()
        with superuser.transaction():
            superuser.execute("LOCK TABLE todo")
            searching = asyncio.create_task(alice.get("/v1/todos?q=x"))
            while not superuser.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
            also_searching = asyncio.create_task(bob.get("/v1/todos?q=x"))
            refused = await alice.get("/v1/todos?q=y")
            assert_problem(refused, 429, "rate_limited")
            assert refused.json()["violated-policies"] == ["user-pool"]
            assert superuser.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount == 1
        assert (await searching).status_code == (await also_searching).status_code == 200
        assert service.registry.get_sample_value("todos_share_refusals_total", {"policy": "user-pool"}) == 1


async def test_deleted_todos_page_and_sort_as_live_ones_do(alice: Client) -> None:
    todos = await many(alice, 12)
    for todo in todos:
        assert (await alice.send("DELETE", f"/v1/todos/{todo['id']}")).status_code == 204
    for field in ("title", "-due_date", "priority"):
        expected = expected_order(todos, field.removeprefix("-"), descending=field.startswith("-"))
        found = await all_pages(alice, f"deleted=true&sort={field}&limit=5")
        assert [todo["id"] for todo in found] == expected


async def test_the_list_and_its_tag_are_of_one_moment(service: Running, alice: Client) -> None:
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await alice.create()

    writing = asyncio.create_task(write())
    try:
        for _ in range(30):
            answer = await alice.get("/v1/todos?limit=1")
            newest = answer.json()[0]["version"] if answer.json() else 0
            assert answer.headers["etag"] == f'W/"{newest}"'
    finally:
        stop.set()
        await writing


@pytest.mark.parametrize("field", SORT_FIELDS)
@pytest.mark.parametrize("hyphen", ["", "-"])
def test_every_sort_has_an_index_for_live_and_deleted_todos(
    superuser: psycopg.Connection, field: str, hyphen: str
) -> None:
    from todos.store.list_statements import Shape, Sort, list_statement  # noqa: PLC0415

    for deleted in (False, True):
        sort = Sort(field, descending=bool(hyphen))  # type: ignore[arg-type]
        statement = list_statement(Shape(sort, frozenset(), deleted, after_cursor=True))
        key = {"title": "x", "order": 1, "priority": 1}.get(field, "2026-01-01T00:00:00Z")
        values = {"user_id": "u", "limit": 20, "after_key": key, "after_id": "0192f7c0-0000-7000-8000-000000000000"}
        with superuser.transaction():
            # what row-level security does not trust stays out of the index, for those it binds
            superuser.execute("SET LOCAL ROLE todos_app")
            superuser.execute("SELECT set_config('app.user_id', 'u', true)")
            superuser.execute("SET LOCAL enable_sort = off")
            superuser.execute("SET LOCAL enable_seqscan = off")
            superuser.execute("SET LOCAL enable_bitmapscan = off")
            cursor = psycopg.RawCursor(superuser)
            cursor.execute(b"EXPLAIN " + statement.sql, [values[name] for name in statement.names])
            plan = "\n".join(str(row[0]) for row in cursor.fetchall())
        assert f"todo_{'deleted' if deleted else 'live'}_by_" in plan, plan
        assert "ROW(" in plan.partition("Index Cond:")[2], plan
