"""Bodies are strict JSON, and every field keeps its limits."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.problems import ProblemError
from strict_http.asgi import Headers
from todos.http.body import MAX_FAULTS, MAX_VALUES, parse_patch, parse_todo

JSON = [(b"content-type", b"application/json")]


def pointers(body: object, *, patch: bool = False) -> list[str]:
    """Where the contract is broken, or nowhere."""
    try:
        (parse_patch if patch else parse_todo)(JSON, json.dumps(body).encode())
    except ProblemError as problem:
        assert problem.code == "invalid"  # noqa: PT017 - it may as well not be raised
        return [fault["pointer"] for fault in problem.faults]
    return []


def code_of(body: bytes, headers: Headers = JSON) -> str:
    with pytest.raises(ProblemError) as raised:
        parse_todo(headers, body)
    return raised.value.code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'title': 'x'}",
        b'{"title": "x",}',
        b'{"title": "x"} {}',
        b'{"title": "x", "title": "x"}',
        b'{"title": "x", "id": {"a": 1, "a": 2}}',
        b'{"title": "x", "order": NaN}',
        b'{"title": "x", "order": Infinity}',
        b'{"title": "x", "order": -Infinity}',
        b'{"title": "\\ud800"}',
        b'{"title": "x", "version": "\\udfff"}',
        b'{"title": "x", "\\ud800": 1}',
        b'{"title": "\xff"}',
        b'{"title": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"title": "x"}',
        '{"title": "x"}'.encode("utf-16"),
        b'{"title": "\n"}',
        b"[" * 100_000,
        b'{"id":' * 50_000,
    ],
)
def test_what_is_not_json_is_a_bad_request(body: bytes) -> None:
    assert code_of(body) == "bad_request"


@pytest.mark.parametrize("body", [[], "x", 7, None, True])
def test_json_that_is_no_object_is_invalid_as_a_whole(body: object) -> None:
    assert pointers(body) == [""]


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse_todo(JSON, b'{"title": "\\ud83d\\ude00"}').title == "\U0001f600"


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e999", "7.0", "2147483648", "-2147483649"])
def test_a_number_that_is_no_int32_is_no_order(number: str) -> None:
    with pytest.raises(ProblemError) as raised:
        parse_todo(JSON, b'{"title": "x", "order": %s}' % number.encode())
    assert [fault["pointer"] for fault in raised.value.faults] == ["/order"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "unsupported_media_type"),
        ([(b"content-type", b"text/plain")], "unsupported_media_type"),
        ([(b"content-type", b"application/merge-patch+json")], "unsupported_media_type"),
        ([(b"content-type", b"application/jsonx")], "unsupported_media_type"),
        (JSON * 2, "unsupported_media_type"),
        ([(b"content-type", b"Application/JSON ; charset=utf-8")], "bad_request"),
    ],
)
def test_the_media_type_decides_before_the_body(headers: Headers, code: str) -> None:
    assert code_of(b"{", headers) == code


def test_a_merge_patch_has_a_media_type_of_its_own() -> None:
    assert parse_patch([(b"content-type", b"application/merge-patch+json")], b'{"order": 1}') == {"order": 1}


TITLE = {"title": "x"}


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 200},
        {"title": "\U0001f600" * 200},
        {"title": "  " + "x" * 200 + "\n"},
        {**TITLE, "description": "\U0001f600" * 10_000},
        {**TITLE, "description": "tab\tand\nnewline"},
        {**TITLE, "completed": True},
        *({**TITLE, "priority": priority} for priority in ("none", "low", "medium", "high", "urgent")),
        {**TITLE, "tags": [str(number) for number in range(20)]},
        {**TITLE, "tags": ["\U0001f600" * 50, "A", "a", " "]},
        {**TITLE, "due_date": None},
        {**TITLE, "due_date": "2026-03-01"},
        {**TITLE, "due_date": "2026-03-01T09:30:00+02:00"},
        {**TITLE, "timezone": "America/Argentina/Buenos_Aires"},
        {**TITLE, "order": 2**31 - 1},
        {**TITLE, "order": -(2**31)},
        {**TITLE, "id": 7, "url": [], "completed_at": {}, "created_at": "", "updated_at": None, "version": 1.5},
        {**TITLE, "deleted_at": "whatever"},
    ],
)
def test_what_the_contract_allows_is_taken(fields: dict[str, Any]) -> None:
    assert pointers(fields) == []


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/title"),
        ({"title": None}, "/title"),
        ({"title": 7}, "/title"),
        ({"title": ""}, "/title"),
        ({"title": " \t\n\u3000"}, "/title"),
        ({"title": "x" * 201}, "/title"),
        *(({"title": f"a{chr(code)}b"}, "/title") for code in (0, 9, 10, 0x1F, 0x7F, 0x85, 0x9F)),
        ({**TITLE, "description": None}, "/description"),
        ({**TITLE, "description": "x" * 10_001}, "/description"),
        *(({**TITLE, "description": chr(code)}, "/description") for code in (0, 0xB, 0xD, 0x7F, 0x85)),
        *(({**TITLE, "completed": value}, "/completed") for value in ("yes", "true", 1, 0, None)),
        *(({**TITLE, "priority": value}, "/priority") for value in ("", "LOW", 1, None)),
        ({**TITLE, "tags": None}, "/tags"),
        ({**TITLE, "tags": "a"}, "/tags"),
        ({**TITLE, "tags": {"0": "a"}}, "/tags"),
        ({**TITLE, "tags": [str(number) for number in range(21)]}, "/tags"),
        ({**TITLE, "tags": ["a", "b", "a"]}, "/tags"),
        *(({**TITLE, "tags": ["ok", tag]}, "/tags/1") for tag in ("", "x" * 51, "a,b", "a\nb", "a\0", 7, None)),
        *(
            ({**TITLE, "due_date": value}, "/due_date")
            for value in ("", "tomorrow", 7, True, "2026-02-30", "2026-03-01T09:30:00")
        ),
        *(
            ({**TITLE, "timezone": value}, "/timezone")
            for value in ("", "Nowhere", "utc ", "europe/berlin", "../UTC", "localtime", "posixrules", "UTC\0", 7, None)
        ),
        *(({**TITLE, "order": value}, "/order") for value in ("7", True, 1.5, None)),
        ({**TITLE, "user_id": "bob"}, "/user_id"),
        ({**TITLE, "a/b~c": 1}, "/a~1b~0c"),
        ({**TITLE, "": 1}, "/"),
    ],
)
def test_what_breaks_the_contract_is_pointed_at(fields: dict[str, Any], pointer: str) -> None:
    assert pointers(fields) == [pointer]


def test_all_faults_are_told_at_once_and_never_the_values() -> None:
    secret = "5ecret,value"
    body = json.dumps({"title": 7, "priority": secret, "tags": [secret], "timezone": secret, secret: 1}).encode()
    with pytest.raises(ProblemError) as raised:
        parse_todo(JSON, body)
    assert len(raised.value.faults) == 5
    assert not any(secret in fault["detail"] for fault in raised.value.faults)


@pytest.mark.parametrize("patch", [False, True])
@pytest.mark.parametrize("count", [MAX_FAULTS + 1, MAX_VALUES + 1, 110_000])
def test_of_unknown_members_the_first_fifty_are_pointed_at(count: int, *, patch: bool) -> None:
    given_body = {"title": "x", **{str(number): 1 for number in range(count)}}
    assert pointers(given_body, patch=patch) == [f"/{number}" for number in range(MAX_FAULTS)]


def test_faults_of_known_members_come_before_unknown_ones() -> None:
    assert pointers({**{str(number): 1 for number in range(60)}, "title": 7})[:2] == ["/title", "/0"]


def test_reading_ends_with_the_first_value_too_many() -> None:
    """What follows is not looked at: a body of 1 MiB costs no more than one that is short."""
    members = b",".join(b'"%d":1' % number for number in range(MAX_VALUES + 1))
    assert code_of(b'{"title": "x",' + members + b",,,") == "invalid"
    assert code_of(b'{"title": "x",' + members.replace(b":1", b":{}") + b",,,") == "invalid"


@pytest.mark.parametrize("name", ["tags", "title", "url", "id"])
@pytest.mark.parametrize("value", [["a"] * MAX_VALUES, [[]] * 200_000, {str(n): n for n in range(MAX_VALUES)}])
def test_an_array_or_object_that_is_too_long_is_pointed_at(name: str, value: object) -> None:
    assert pointers({"title": "x", name: value}) == [f"/{name}"]


def test_too_many_tags_are_one_fault_whatever_they_are() -> None:
    assert pointers({**TITLE, "tags": [7] * 21}) == ["/tags"]


def test_the_longest_todo_is_taken_in_its_longest_spelling() -> None:
    long = {
        "title": "\U0001f600" * 200,
        "description": "\U0001f600" * 10_000,
        "tags": [f"{number:2}" + "\U0001f600" * 48 for number in range(20)],
    }
    assert pointers(long) == []


def test_a_patch_has_what_was_given_and_null_is_the_default() -> None:
    everything = {
        "description": None,
        "completed": None,
        "priority": None,
        "tags": None,
        "due_date": None,
        "timezone": None,
        "order": None,
    }
    assert parse_patch(JSON, json.dumps(everything).encode()) == {
        "description": "",
        "completed": False,
        "priority": "none",
        "tags": [],
        "due_date": None,
        "timezone": "UTC",
        "order": 0,
    }
    assert parse_patch(JSON, b'{"title": " x ", "id": 7}') == {"title": "x"}
    assert parse_patch(JSON, b"{}") == {}


@pytest.mark.parametrize(
    ("fields", "pointer"), [({"title": None}, "/title"), ({"nope": None}, "/nope"), ({"tags": [None]}, "/tags/0")]
)
def test_a_patch_keeps_the_limits_too(fields: dict[str, Any], pointer: str) -> None:
    assert pointers(fields, patch=True) == [pointer]


def test_due_dates_are_read_as_days_or_moments() -> None:
    assert parse_todo(JSON, b'{"title": "x", "due_date": "2026-03-01"}').due_date == date(2026, 3, 1)
    moment = parse_todo(JSON, b'{"title": "x", "due_date": "2026-03-01T00:00:00+02:00"}').due_date
    assert moment == datetime(2026, 2, 28, 22, tzinfo=UTC)


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    try:
        parse_todo(JSON, body)
    except ProblemError as problem:
        assert problem.code in ("bad_request", "invalid")  # noqa: PT017 - it may as well not be raised
