"""Everything out again: as JSON, as a calendar, as a spreadsheet; in constant memory, or visibly not whole."""

import asyncio
import csv
import io
import itertools
import re
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo, available_timezones

import httpx
import psycopg
import pytest
import vobject
from dateutil.rrule import rrulestr
from dateutil.tz import tzical
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.todos.tests.assertions import assert_problem
from services.todos.tests.portability import todos, uniquely
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, Running, running
from todos.portability.csv_export import COLUMNS, safe
from todos.portability.export import BATCH
from todos.portability.ical_timezone import vtimezone

CALENDAR, SHEET = {"accept": "text/calendar"}, {"accept": "text/csv"}


async def fill(client: Client, items: list[dict[str, Any]]) -> None:
    answer = await client.send("POST", "/v1/import", json_body=items)
    assert answer.status_code == 200, answer.text


def many(count: int) -> list[dict[str, Any]]:
    return [{"id": str(uuid4()), "title": f"todo {number}", "order": number} for number in range(count)]


def sheet_of(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))


def calendar_of(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    read = vobject.readOne(answer.content.decode())
    return list(read.contents.get("vtodo", []))


@pytest.mark.parametrize(
    ("accept", "media_type", "filename"),
    [
        (None, "application/json", "todos.json"),
        ("*/*", "application/json", "todos.json"),
        ("application/*", "application/json", "todos.json"),
        ("text/html, application/json;q=0.5", "application/json", "todos.json"),
        ("text/calendar", "text/calendar; charset=utf-8", "todos.ics"),
        ("TEXT/CALENDAR; charset=utf-8", "text/calendar; charset=utf-8", "todos.ics"),
        ("text/*", "text/calendar; charset=utf-8", "todos.ics"),
        ("text/csv", "text/csv; charset=utf-8; header=present", "todos.csv"),
        ("text/*;q=0.1, text/csv", "text/csv; charset=utf-8; header=present", "todos.csv"),
        ("text/calendar;q=0.3, text/csv;q=0.7, */*;q=0.1", "text/csv; charset=utf-8; header=present", "todos.csv"),
        ("*/*, application/json;q=0, text/calendar;q=0.2", "text/csv; charset=utf-8; header=present", "todos.csv"),
    ],
)
async def test_the_media_type_is_the_one_that_is_preferred(
    alice: Client, accept: str | None, media_type: str, filename: str
) -> None:
    request = alice.signed("GET", "/v1/export", b"", {"accept": accept} if accept else {})
    if accept is None:
        assert "accept" not in request.headers
    answer = await alice.http.send(request)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="{filename}"'
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Authorization"
    assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "*/*;q=0", "text/csv;q=0.000", "", "json", "text/csv;q=2"]
)
async def test_what_cannot_be_given_is_406(alice: Client, accept: str) -> None:
    answer = await alice.get("/v1/export", headers={"accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "text/calendar" in answer.json()["detail"]


async def test_the_json_is_what_the_todos_are_each_on_a_line(alice: Client) -> None:
    created = [await alice.create(title=title, tags=["ä"]) for title in ("a", "b", "c")]
    answer = await alice.get("/v1/export")
    assert answer.json() == created
    assert len(answer.text.splitlines()) == 5


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(todos(), max_size=4).map(uniquely))
async def test_a_todo_is_written_by_the_database_as_by_the_export(
    service: Running, items: list[dict[str, Any]]
) -> None:
    alice = service.user()
    await fill(alice, items)
    exported = (await alice.get("/v1/export")).json(object_pairs_hook=list)
    assert (await alice.get("/v1/todos?sort=created_at")).json(object_pairs_hook=list) == exported
    changes = dict((await alice.get("/v1/changes")).json(object_pairs_hook=list))
    assert sorted(changes["items"]) == sorted(exported)
    for todo in exported:
        assert (await alice.get(f"/v1/todos/{dict(todo)['id']}")).json(object_pairs_hook=list) == todo


@pytest.mark.parametrize("accept", ["application/json", "text/calendar", "text/csv"])
async def test_of_nothing_there_is_an_empty_document(alice: Client, accept: str) -> None:
    answer = await alice.get("/v1/export", headers={"accept": accept})
    if accept == "application/json":
        assert answer.json() == []
    elif accept == "text/csv":
        assert answer.text == ",".join(COLUMNS) + "\r\n"
    else:
        assert calendar_of(answer) == []


@pytest.mark.parametrize(
    "count", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH], ids=["below", "at", "above", "twice the batch"]
)
async def test_every_todo_comes_once_around_the_ends_of_batches(alice: Client, count: int) -> None:
    items = many(count)
    await fill(alice, items)
    found = (await alice.get("/v1/export")).json()
    assert [todo["id"] for todo in found] == [item["id"] for item in items]
    assert len(sheet_of(await alice.get("/v1/export", SHEET))) == count
    assert len(calendar_of(await alice.get("/v1/export", CALENDAR))) == count


async def test_an_export_holds_one_batch_at_a_time(database_url: str) -> None:
    """A round trip for each batch, and each is on its way before the next one is read."""
    async with relay(database_url) as relayed, running(relayed.url, pool_size=1) as service:
        alice = service.user()
        await fill(alice, many(5 * BATCH))
        before = relayed.turns
        request = alice.signed("GET", "/v1/export", b"", {})
        answer = await alice.http.send(request, stream=True)
        sizes = [len(piece) async for piece in answer.aiter_raw()]
        assert relayed.turns - before == 6
        assert answer.headers["transfer-encoding"] == "chunked"
        assert max(sizes) < sum(sizes) / 2


@pytest.mark.parametrize("accept", ["application/json", "text/calendar", "text/csv"])
async def test_where_the_database_goes_away_the_answer_does_not_look_whole(database_url: str, accept: str) -> None:
    async with relay(database_url) as relayed, running(relayed.url, pool_size=1) as service:
        alice = service.user()
        await fill(alice, many(60 * BATCH))
        request = alice.signed("GET", "/v1/export", b"", {"accept": accept})
        answer = await alice.http.send(request, stream=True)
        assert answer.status_code == 200
        pieces = []

        async def read() -> None:
            async for piece in answer.aiter_raw():
                pieces.append(piece)
                relayed.cut = 1000

        with pytest.raises(httpx.RemoteProtocolError):
            await read()
        text = b"".join(pieces)
        assert not text.endswith((b"]\n", b"END:VCALENDAR\r\n"))
        relayed.cut = 0


async def test_without_a_database_there_is_no_answer_to_begin_with(database_url: str) -> None:
    async with relay(database_url) as relayed, running(relayed.url, pool_size=1) as service:
        alice = service.user()
        await alice.create()
        relayed.cut = 1000
        answer = await alice.get("/v1/export")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        relayed.cut = 0


async def test_a_third_export_of_a_user_is_429_and_one_of_another_user_is_given(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, statement_timeout=60) as service:
        alice, bob = service.user(), service.user()
        with superuser.transaction():
            superuser.execute("LOCK TABLE todo")
            begun = [asyncio.create_task(alice.get("/v1/export")) for _ in range(2)]
            while superuser.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount < 2:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
            refused = await alice.get("/v1/export")
            assert_problem(refused, 429, "rate_limited")
            assert refused.json()["violated-policies"] == ["user-export"]
            assert int(refused.headers["retry-after"]) > 0
            begun.append(asyncio.create_task(bob.get("/v1/export")))
        assert [(await answer).status_code for answer in begun] == [200, 200, 200]
        assert service.registry.get_sample_value("todos_share_refusals_total", {"policy": "user-export"}) == 1
        assert (await alice.get("/v1/export")).status_code == 200


async def test_an_export_that_nobody_reads_to_its_end_leaves_its_place(alice: Client) -> None:
    for _ in range(4):
        await fill(alice, [{"id": str(uuid4()), "title": "x", "description": "y" * 10_000} for _ in range(500)])
    for _ in range(3):
        async with alice.http.stream("GET", "/v1/export", headers=alice.signed("GET", "/v1/export", b"", {}).headers):
            continue
    assert len((await alice.get("/v1/export")).json()) == 2000


async def test_it_takes_the_filters_of_the_list(alice: Client) -> None:
    await alice.create(title="a", tags=["x", "y"], priority="high", due_date="2026-01-02")
    await alice.create(title="b", tags=["x"], completed=True)
    gone = await alice.create(title="c")
    await alice.send("DELETE", f"/v1/todos/{gone['id']}")
    for query, titles in {
        "": ["a", "b"],
        "?tag=x&tag=y": ["a"],
        "?completed=true": ["b"],
        "?priority=high&priority=low": ["a"],
        "?due_after=2026-01-02&due_before=2026-01-03": ["a"],
        "?q=B": ["b"],
        "?deleted=true": ["c"],
        "?deleted=false&q=zzz": [],
    }.items():
        found = (await alice.get(f"/v1/export{query}")).json()
        assert [todo["title"] for todo in found] == titles, query


@pytest.mark.parametrize("query", ["sort=title", "limit=5", "cursor=abc", "complete=true", "completed=1", "q=a&q=b"])
async def test_whatever_else_is_asked_for_is_refused(alice: Client, query: str) -> None:
    answer = await alice.get(f"/v1/export?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, query.partition("=")[0])


async def test_nobody_is_shown_what_is_anothers(alice: Client, bob: Client) -> None:
    await alice.create(title="hers")
    for accept in ("application/json", "text/calendar", "text/csv"):
        assert "hers" not in (await bob.get("/v1/export", {"accept": accept})).text
        assert "hers" in (await alice.get("/v1/export", {"accept": accept})).text


# -- CSV


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(todos(), max_size=4).map(uniquely))
async def test_the_csv_reads_back_as_what_was_written(service: Running, items: list[dict[str, Any]]) -> None:
    alice = service.user()
    await fill(alice, items)
    shown = (await alice.get("/v1/export")).json()
    rows = sheet_of(await alice.get("/v1/export", SHEET))
    for todo, row in zip(shown, rows, strict=True):
        assert row == {
            "title": safe(todo["title"]),
            "description": safe(todo["description"]),
            "completed": str(todo["completed"]).lower(),
            "priority": todo["priority"],
            "tags": safe(",".join(todo["tags"])),
            "due_date": todo["due_date"] or "",
            "timezone": todo["timezone"],
            "recurrence": todo["recurrence"] or "",
            "order": str(todo["order"]),
            **{name: todo[name] or "" for name in ("id", "completed_at", "created_at", "updated_at")},
        }


@pytest.mark.parametrize(
    "formula",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20A1"),
        *("  =1+1", "\t=1", "\n=1", "\n\n \t+1", "\ttext", "\ntext", "\u00a0=1", "\u3000=1", "\ufeff=1", "\u200b=1"),
    ],
)
async def test_no_cell_starts_a_formula(alice: Client, formula: str) -> None:
    await alice.create(description=formula, title=formula.strip() or "x", tags=["=1", "b"])
    text = (await alice.get("/v1/export", SHEET)).content.decode()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["description"] == f"'{formula}"
    assert row["tags"] == "'=1,b"
    for cell in row.values():
        assert not re.match(r"\s*[=+\-@]", cell), cell


@pytest.mark.parametrize("text", ["", "text", "a=1", "1-1", "'quoted'", '"=1"', "a, b", "two\nlines", "a\t=b"])
def test_what_starts_none_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


async def test_the_csv_is_rfc_4180(alice: Client) -> None:
    await alice.create(title='say "hi", you', description="two\nlines", tags=["a", "b"], order=-5)
    answer = await alice.get("/v1/export", SHEET)
    header, rest = answer.content.split(b"\r\n", 1)
    client_set = "title,description,completed,priority,tags,due_date,timezone,recurrence,order"
    assert header.decode() == f"{client_set},id,completed_at,created_at,updated_at"
    assert rest.startswith(b'"say ""hi"", you","two\nlines",false,none,"a,b",,UTC,,-5,')
    assert rest.endswith(b"Z\r\n")


# -- iCalendar


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(microsecond=0)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(todos(), max_size=4).map(uniquely))
async def test_the_calendar_is_read_back_by_another_library(service: Running, items: list[dict[str, Any]]) -> None:
    alice = service.user()
    await fill(alice, items)
    shown = (await alice.get("/v1/export")).json()
    read = calendar_of(await alice.get("/v1/export", CALENDAR))
    for todo, found in zip(shown, read, strict=True):
        assert found.uid.value == todo["id"]
        assert found.summary.value == todo["title"]
        assert (found.description.value if "description" in found.contents else "") == todo["description"]
        assert found.status.value == ("COMPLETED" if todo["completed"] else "NEEDS-ACTION")
        assert int(found.priority.value) == {"none": 0, "low": 9, "medium": 5, "high": 3, "urgent": 1}[todo["priority"]]
        assert found.created.value == moment(todo["created_at"])
        assert found.last_modified.value == found.dtstamp.value == moment(todo["updated_at"])
        assert ("completed" in found.contents) == todo["completed"]
        assert (found.categories.value if todo["tags"] else []) == todo["tags"]
        assert_due(todo, found)


def assert_due(todo: dict[str, Any], found: Any) -> None:
    if todo["due_date"] is None:
        assert "due" not in found.contents
        return
    due = found.due.value
    goes_on = bool(todo["recurrence"]) and not todo["completed"]
    if "T" not in todo["due_date"]:
        assert due == date.fromisoformat(todo["due_date"])
    elif not goes_on:
        assert due.astimezone(UTC) == moment(todo["due_date"]), todo
    assert ("rrule" in found.contents) == ("dtstart" in found.contents) == goes_on
    if goes_on:
        assert found.dtstart.value == due
        assert set(found.rrule.value.split(";")) == set(todo["recurrence"].split(";"))


async def test_lines_are_folded_between_characters_and_text_is_escaped(alice: Client) -> None:
    await alice.create(title="ä😀" * 90, description="one, two; three \\ four\nBEGIN:VALARM\n\tEND:VCALENDAR")
    content = (await alice.get("/v1/export", CALENDAR)).content
    lines = content.split(b"\r\n")
    assert all(len(line) <= 75 for line in lines)
    assert all(line.decode() is not None for line in lines)
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert lines[-2] == b"END:VCALENDAR"
    assert lines.count(b"END:VCALENDAR") == 1
    assert not any(line.startswith(b"BEGIN:VALARM") for line in lines)
    assert b"one\\, two\\; three \\\\ four\\nBEGIN:VALARM" in content.replace(b"\r\n ", b"")


async def test_the_calendar_has_the_properties_of_the_contract(alice: Client) -> None:
    todo = await alice.create(
        title="Water",
        description="x",
        completed=True,
        priority="urgent",
        tags=["home", "a;b"],
        due_date="2026-03-01T18:00:00+01:00",
        timezone="Europe/Berlin",
        recurrence="FREQ=WEEKLY;BYDAY=SU",
    )
    content = (await alice.get("/v1/export", CALENDAR)).content.decode()
    assert content.startswith("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:")
    zone, _, rest = content.partition("BEGIN:VTODO\r\n")
    assert "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\n" in zone
    lines = set(rest.partition("END:VTODO")[0].splitlines())

    def stamp(name: str) -> str:
        return moment(todo[name]).strftime("%Y%m%dT%H%M%SZ")

    assert lines == {
        f"UID:{todo['id']}",
        f"DTSTAMP:{stamp('updated_at')}",
        "SUMMARY:Water",
        "DESCRIPTION:x",
        "STATUS:COMPLETED",
        f"COMPLETED:{stamp('completed_at')}",
        "PERCENT-COMPLETE:100",
        "PRIORITY:1",
        r"CATEGORIES:home,a\;b",
        "DUE;TZID=Europe/Berlin:20260301T180000",
        f"CREATED:{stamp('created_at')}",
        f"LAST-MODIFIED:{stamp('updated_at')}",
    }


async def test_the_open_one_of_a_series_alone_has_the_rule(alice: Client) -> None:
    first = await alice.create(due_date="2026-03-01", recurrence="FREQ=DAILY")
    answer = await alice.send("PATCH", f"/v1/todos/{first['id']}", json_body={"completed": True})
    todos = {str(todo.uid.value): todo.contents for todo in calendar_of(await alice.get("/v1/export", CALENDAR))}
    assert "rrule" not in todos[first["id"]]
    assert [rule.value for rule in todos[answer.json()["next_id"]]["rrule"]] == ["FREQ=DAILY"]


async def test_each_zone_is_told_once_and_before_it_is_named(alice: Client) -> None:
    for zone in ("Europe/Berlin", "Asia/Tokyo", "UTC", "Europe/Berlin"):
        await alice.create(due_date="2026-07-01T10:00:00Z", timezone=zone)
    await alice.create(due_date="2026-07-01", timezone="America/Lima")
    text = (await alice.get("/v1/export", CALENDAR)).text
    assert re.findall(r"^TZID:(.*)$", text.replace("\r", ""), re.MULTILINE) == ["Europe/Berlin", "Asia/Tokyo"]
    for zone in ("Europe/Berlin", "Asia/Tokyo"):
        assert text.index(f"TZID:{zone}\r\n") < text.index(f"DUE;TZID={zone}:")
    assert "DUE:20260701T100000Z" in text
    assert "DUE;VALUE=DATE:20260701" in text


@pytest.mark.parametrize(
    ("due", "timezone", "line"),
    [
        # the second of two equal hours, which a local time cannot name
        ("2026-10-25T00:30:00Z", "Europe/Berlin", "DUE;TZID=Europe/Berlin:20261025T023000"),
        ("2026-10-25T01:30:00Z", "Europe/Berlin", "DUE:20261025T013000Z"),
        # beyond what the VTIMEZONE tells
        ("2150-01-01T00:00:00Z", "Europe/Berlin", "DUE:21500101T000000Z"),
        ("0001-01-01T00:00:00Z", "Asia/Tokyo", "DUE:00010101T000000Z"),
        ("9999-12-31T23:59:59Z", "Asia/Tokyo", "DUE:99991231T235959Z"),
        ("2099-07-01T10:00:00Z", "Europe/Berlin", "DUE;TZID=Europe/Berlin:20990701T120000"),
    ],
)
async def test_every_due_moment_can_be_told_from_the_calendar(
    alice: Client, due: str, timezone: str, line: str
) -> None:
    await alice.create(due_date=due, timezone=timezone)
    answer = await alice.get("/v1/export", CALENDAR)
    assert f"{line}\r\n" in answer.text
    (found,) = calendar_of(answer)
    assert found.due.value.astimezone(UTC) == moment(due)


def strict_offset(calendar: str, local: datetime) -> timedelta:
    """By the letter of RFC 5545 section 3.6.5: the change with the latest onset, each told by the clocks before it."""
    onsets = []
    for part in re.findall(r"BEGIN:(?:STANDARD|DAYLIGHT)\r\n(.*?)END:", calendar.replace("\r\n ", ""), re.DOTALL):
        before, after = re.findall(r"TZOFFSET(?:FROM|TO):([+-]\d{4})", part)
        starts = [datetime.fromisoformat(text) for text in re.findall(r"(?:DTSTART|RDATE):(.*)\r", part)]
        for rule in re.findall(r"RRULE:(.*)\r", part):
            starts += rrulestr(rule, dtstart=starts[0]).between(starts[0], local + timedelta(days=366))
        onsets += [(datetime.fromisoformat(f"{start}{before}"), after) for start in starts]
    # an onset is at or before a local time if it is so by the clocks after it: the first of two equal ones
    known = [(start, offset) for start, offset in onsets if start.astimezone(UTC) <= as_utc(local, offset)]
    return datetime.strptime(max(known)[1], "%z").utcoffset() or timedelta()


def as_utc(local: datetime, offset: str) -> datetime:
    return datetime.strptime(local.strftime("%Y%m%dT%H%M%S") + offset, "%Y%m%dT%H%M%S%z").astimezone(UTC)


@pytest.mark.parametrize("timezone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_the_clocks_of_a_calendar_change_when_they_do(timezone: str) -> None:
    calendar = vtimezone(timezone).decode()
    zone = ZoneInfo(timezone)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    while at.year < 2028:
        at += timedelta(hours=1)
        change = at.astimezone(zone).utcoffset() != (at - timedelta(hours=1)).astimezone(zone).utcoffset()
        if change:
            for moment_near in (at - timedelta(hours=3), at, at + timedelta(minutes=30), at + timedelta(hours=3)):
                local = moment_near.astimezone(zone)
                if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
                    continue
                assert strict_offset(calendar, local.replace(tzinfo=None)) == local.utcoffset(), local


def test_other_readers_take_the_clocks_of_every_zone_as_they_are() -> None:
    data = files("tzdata").joinpath("zoneinfo")
    distinct = {data.joinpath(*name.split("/")).read_bytes(): name for name in available_timezones()}
    for name in sorted(distinct.values()):
        calendar = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{vtimezone(name).decode()}END:VCALENDAR\r\n"
        theirs = tzical(io.StringIO(calendar)).get(name)
        for year, month in itertools.product((2025, 2026, 2027), (1, 7)):
            noon = datetime(year, month, 15, 12, tzinfo=ZoneInfo(name))
            assert noon.replace(tzinfo=theirs).utcoffset() == noon.utcoffset(), noon
