"""A misspelt filter never lists everything."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.problems import ProblemError
from todos.http.query import list_query, no_parameters, parse_query
from todos.store.list_query import ListQuery
from todos.store.list_statements import SORT_FIELDS, Sort


def read(query: str) -> ListQuery:
    return list_query(query.encode(), "alice")


def faulty(query: bytes) -> list[str]:
    with pytest.raises(ProblemError) as raised:
        list_query(query, "alice")
    assert raised.value.code == "invalid"
    return [fault["parameter"] for fault in raised.value.faults]


def test_without_parameters_the_newest_fifty_live_todos_are_meant() -> None:
    query = read("")
    assert query.shape.sort == Sort("created_at", descending=True)
    assert not query.shape.filters
    assert not query.shape.deleted
    assert query.limit == 50


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("completed=true", "completed", True),
        ("completed=false", "completed", False),
        ("priority=high", "priority", [3]),
        ("priority=urgent&priority=none&priority=none", "priority", [0, 4]),
        ("tag=a&tag=b&tag=a", "tag", ["a", "b"]),
        ("tag=a+b", "tag", ["a b"]),
        ("tag=%F0%9F%98%80", "tag", ["\U0001f600"]),
        ("due_after=2026-03-01", "due_after", datetime(2026, 3, 1, tzinfo=UTC)),
        ("due_before=2026-03-01T00:00:00%2B02:00", "due_before", datetime(2026, 2, 28, 22, tzinfo=UTC)),
        ("q=50%25_%5C", "q", "50%_\\"),
        ("q=%20", "q", " "),
        ("q=" + "x" * 100, "q", "x" * 100),
    ],
)
def test_filters_become_values(query: str, name: str, value: Any) -> None:
    found = read(query)
    assert found.shape.filters == {name}
    assert found.values[name] == value


@pytest.mark.parametrize("field", SORT_FIELDS)
def test_a_leading_hyphen_reverses_a_sort(field: str) -> None:
    assert read(f"sort={field}").shape.sort == (field, False)
    assert read(f"sort=-{field}").shape.sort == (field, True)


@pytest.mark.parametrize("limit", [1, 50, 200])
def test_a_limit_is_a_number_up_to_200(limit: int) -> None:
    assert read(f"limit={limit}").limit == limit


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        *((f"completed={value}", "completed") for value in ("", "True", "1", "yes", "true%20")),
        *((f"deleted={value}", "deleted") for value in ("", "TRUE", "0")),
        *((f"priority={value}", "priority") for value in ("", "HIGH", "3", "low,high")),
        *((f"tag={value}", "tag") for value in ("", "a,b", "x" * 51, "%00", "%0A", "%7F")),
        *(
            (f"{name}={value}", name)
            for name in ("due_after", "due_before")
            for value in ("", "2026", "2026-02-30", "x")
        ),
        ("due_after=2026-03-01T00:00:00+02:00", "due_after"),
        *((f"q={value}", "q") for value in ("", "x" * 101, "%00", "%0a", "%C2%85")),
        *((f"sort={value}", "sort") for value in ("", "-", "--title", "TITLE", "id", "version", "%2Btitle")),
        *(
            (f"limit={value}", "limit")
            for value in ("", "0", "201", "1000", "-1", "%2B1", "1.0", "1e1", "%D9%A1", "05", "1_0")
        ),
        *((f"cursor={value}", "cursor") for value in ("", "x", "%00", "e30", "x" * 5000)),
        ("user_id=bob", "user_id"),
        ("Completed=true", "Completed"),
        ("offset=1", "offset"),
        ("&", ""),
        ("limit=1&", ""),
        ("=1", ""),
        *(
            (f"{name}&{name}", name.partition("=")[0])
            for name in ("completed=true", "sort=title", "limit=1", "q=x", "deleted=true")
        ),
        ("tag=%", "tag"),
        ("tag=%4", "tag"),
        ("tag=%zz", "tag"),
        ("tag=%ff", "tag"),
        ("tag=%ed%a0%80", "tag"),
    ],
)
def test_what_is_not_a_parameter_of_the_list_is_invalid(query: str, parameter: str) -> None:
    assert set(faulty(query.encode())) == {parameter}


def test_all_faults_are_told_at_once() -> None:
    assert faulty(b"limit=0&nope=1&q=") == ["limit", "nope", "q"]


def test_the_next_page_repeats_the_parameters_but_the_cursor() -> None:
    assert read("tag=a+b&tag=%27&limit=7&sort=-title").repeated == "tag=a%20b&tag=%27&limit=7&sort=-title"


def test_routes_without_parameters_take_none() -> None:
    no_parameters(b"")
    for query in (b"a", b"a=1", b"=", b"%zz"):
        with pytest.raises(ProblemError) as raised:
            no_parameters(query)
        assert raised.value.code == "invalid"


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1))
def test_every_pair_that_is_encoded_is_read_back(pairs: list[tuple[str, str]]) -> None:
    encoded = "&".join(
        f"{quote(name.encode('utf-8', 'replace'), safe='')}={quote(value.encode('utf-8', 'replace'), safe='')}"
        for name, value in pairs
    )
    clean = [
        (name.encode("utf-8", "replace").decode(), value.encode("utf-8", "replace").decode()) for name, value in pairs
    ]
    assert parse_query(encoded.encode()) == clean


@given(st.binary(max_size=60))
def test_no_query_breaks_the_reader(query: bytes) -> None:
    try:
        list_query(query, "alice")
    except ProblemError as problem:
        assert problem.code == "invalid"  # noqa: PT017 - it may as well not be raised
