"""What a client sets comes back from wherever a todo does; a field that is lost anywhere fails by its name."""

import csv
import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from services.todos.tests.assertions import path
from services.todos.tests.serving import Client
from todos.domain.fields import TodoFields

DUE, RULE = "2098-03-01T09:30:00.250000Z", "FREQ=DAILY;INTERVAL=2"
OF_ITS_OWN = {"completed", "due_date"}
"""What a successor does not have of the todo before it."""


class Sample(NamedTuple):
    """A value that is not the default, its cell in CSV, its line in iCalendar, and what else such a todo has."""

    value: object
    cell: str
    line: str | None
    beside: Mapping[str, object] = MappingProxyType({})


PLAIN_TEXT = Sample("Cœur 😀", "Cœur 😀", None)
OTHERS = {
    "title": PLAIN_TEXT._replace(line="SUMMARY:Cœur 😀"),
    "description": Sample("=one,\n\ttwo", "'=one,\n\ttwo", "DESCRIPTION:=one\\,\\n\ttwo"),
    "completed": Sample(True, "true", "STATUS:COMPLETED"),  # noqa: FBT003 - a value like the others
    "priority": Sample("urgent", "urgent", "PRIORITY:1"),
    "tags": Sample(["b", "a"], "b,a", "CATEGORIES:b,a"),
    "due_date": Sample(DUE, DUE, "DUE:20980301T093000Z"),
    "timezone": Sample(
        "Asia/Kathmandu", "Asia/Kathmandu", "DUE;TZID=Asia/Kathmandu:20980301T151500", {"due_date": DUE}
    ),
    "recurrence": Sample(RULE, RULE, f"RRULE:{RULE}", {"due_date": DUE}),
    "order": Sample(-7, "-7", None),
}
"""Of the fields that are more than text which iCalendar leaves out."""

every_field = pytest.mark.parametrize("name", TodoFields.model_fields)


def sample_of(name: str) -> tuple[Sample, dict[str, Any]]:
    """The sample of a field, and a todo that has it."""
    sample = OTHERS.get(name, PLAIN_TEXT)
    assert sample.value != TodoFields.model_fields[name].default
    return sample, {"title": "a todo", **sample.beside, name: sample.value}


async def read(client: Client, target: str, **headers: str) -> Any:
    answer = await client.get(target, headers)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.headers["content-type"] == "application/json" else answer.content.decode()


async def write(client: Client, method: str, target: str, body: Any, **headers: str) -> Any:
    answer = await client.send(method, target, json_body=body, headers=headers)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


@every_field
async def test_a_field_outlives_a_patch_of_another_and_is_in_every_answer(alice: Client, name: str) -> None:
    sample, fields = sample_of(name)
    todo = await alice.create(**fields)
    assert todo[name] == sample.value
    other = "title" if name != "title" else "description"
    patched = await write(alice, "PATCH", path(todo), {other: "another"})
    assert (patched[name], patched[other]) == (sample.value, "another")
    assert await read(alice, path(todo)) == patched
    assert await read(alice, "/v1/todos") == [patched]
    assert (await read(alice, "/v1/changes"))["items"] == [patched]
    put = await write(alice, "PUT", path(todo), patched)
    assert put[name] == sample.value


@every_field
async def test_a_patch_changes_the_field_alone_and_null_takes_it_back(alice: Client, name: str) -> None:
    sample, _ = sample_of(name)
    plain = await alice.create(**{"title": "a todo", **sample.beside})
    patched = await write(alice, "PATCH", path(plain), {name: sample.value})
    stamps = {stamp: patched[stamp] for stamp in ("completed_at", "updated_at", "version")}
    assert patched == {**plain, **stamps, name: sample.value}
    if not TodoFields.model_fields[name].is_required():
        assert (await write(alice, "PATCH", path(plain), {name: None}))[name] == plain[name]


@every_field
async def test_a_field_is_in_every_export_and_comes_back_by_an_import(alice: Client, name: str) -> None:
    sample, fields = sample_of(name)
    todo = await alice.create(**fields)
    exported = await read(alice, "/v1/export")
    assert exported == [todo]
    sheet = await read(alice, "/v1/export", accept="text/csv")
    assert [row[name] for row in csv.DictReader(io.StringIO(sheet, newline=""))] == [sample.cell]
    calendar = await read(alice, "/v1/export", accept="text/calendar")
    assert sample.line is None or sample.line in calendar.replace("\r\n ", "").split("\r\n")
    assert (await alice.send("DELETE", "/v1/me")).status_code == 204
    assert await read(alice, "/v1/todos") == []
    assert await write(alice, "POST", "/v1/import", exported) == {"created": 1, "updated": 0}
    assert [found[name] for found in await read(alice, "/v1/export")] == [sample.value]
    assert (await read(alice, path(todo)))[name] == sample.value


@every_field
async def test_an_import_over_a_todo_sets_the_field(alice: Client, name: str) -> None:
    sample, fields = sample_of(name)
    todo = await alice.create(**fields)
    assert (await write(alice, "PUT", path(todo), {"title": "replaced", **sample.beside}))[name] != sample.value
    assert await write(alice, "POST", "/v1/import", [todo]) == {"created": 0, "updated": 1}
    assert (await read(alice, path(todo)))[name] == sample.value


@every_field
async def test_a_field_is_in_the_answer_kept_under_a_key(alice: Client, name: str) -> None:
    sample, fields = sample_of(name)
    headers = {"idempotency-key": "k", "x-forwarded-host": "a.example"}
    kept = await write(alice, "POST", "/v1/todos", fields, **headers)
    assert kept[name] == sample.value
    assert await read(alice, path(kept), **{"x-forwarded-host": "a.example"}) == kept


@every_field
async def test_a_successor_has_the_field(alice: Client, name: str) -> None:
    sample, fields = sample_of(name)
    todo = await alice.create(**{"due_date": DUE, "recurrence": RULE, **fields, "completed": False})
    done = await write(alice, "PATCH", path(todo), {"completed": True})
    following = await read(alice, f"/v1/todos/{done['next_id']}")
    assert (following[name] == sample.value) == (name not in OF_ITS_OWN)
