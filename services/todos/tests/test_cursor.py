"""Cursors come back as they went out, and nothing else does."""

import base64
import json
from datetime import datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todos.domain.fields import INT32
from todos.http.cursor import Position, binding, decode, encode
from todos.http.opaque_token import NotOursError
from todos.store.list_statements import SORT_FIELDS, Sort, SortField, SortKey

BOUND = binding("alice", Sort("created_at", descending=True), [])
ID = "0192f7c0-0000-7000-8000-000000000000"
moments = st.datetimes()
keys: dict[SortField, st.SearchStrategy[SortKey]] = {
    "created_at": moments,
    "updated_at": moments,
    "due_date": st.none() | moments,
    "priority": st.integers(0, 4),
    "title": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200),
    "order": st.integers(INT32.start, INT32.stop - 1),
}


@pytest.mark.parametrize("field", SORT_FIELDS)
@given(data=st.data())
def test_every_position_comes_back(field: SortField, data: st.DataObject) -> None:
    position = Position(data.draw(keys[field]), str(data.draw(st.uuids())))
    assert decode(encode(position, BOUND), BOUND, field) == position


def raw(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).decode().rstrip("=")


@pytest.mark.parametrize("field", SORT_FIELDS)
@pytest.mark.parametrize(
    "key",
    [
        True,
        1.5,
        -1,
        2**31,
        10**400,
        [],
        {},
        "nul\0",
        "\ud800",
        "x" * 1001,
        "0000-01-01T00:00:00",
        "2026-02-30T00:00:00",
        "2026-03-01T00:00:00.5",
        "2026-03-01T00:00:00+00:00",
        "infinity",
    ],
)
def test_a_key_that_the_sort_cannot_have_is_refused(field: SortField, key: object) -> None:
    possible = (field == "title" and key in ("0000-01-01T00:00:00", "2026-02-30T00:00:00", "infinity")) or (
        field == "title" and isinstance(key, str) and key.startswith("2026-03")
    )
    if possible or (field == "order" and key == -1):
        return
    with pytest.raises(NotOursError):
        decode(raw([BOUND, key, ID]), BOUND, field)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "a",
        "e30",
        "AAAA",
        raw([]),
        raw({}),
        raw([BOUND, 1]),
        raw([BOUND, 1, ID, 1]),
        raw([1, 1, ID]),
        raw([BOUND, 1, ID.upper().replace("F", "F")]),
        raw([BOUND, 1, UUID(ID).hex]),
        raw([BOUND, 1, 7]),
        raw([BOUND, 1, ID]) + "=",
        raw([BOUND, 1, ID]) + "A",
        base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("="),
        base64.urlsafe_b64encode(json.dumps([BOUND, 1, ID]).encode()).decode().rstrip("="),
    ],
)
def test_what_was_not_written_here_is_refused(text: str) -> None:
    with pytest.raises(NotOursError):
        decode(text, BOUND, "order")


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises(NotOursError):
        decode(text, BOUND, "title")


def test_a_cursor_is_good_for_its_user_sort_and_filters_alone() -> None:
    sort = Sort("order", descending=False)
    bound = binding("alice", sort, ["a"])
    text = encode(Position(1, ID), bound)
    others = [
        binding("bob", sort, ["a"]),
        binding("alice", Sort("order", descending=True), ["a"]),
        binding("alice", Sort("priority", descending=False), ["a"]),
        binding("alice", sort, ["b"]),
    ]
    for other in others:
        with pytest.raises(ValueError, match="is not one of this API's"):
            decode(text, other, "order")
    assert decode(text, bound, "order").key == 1


def test_a_cursor_of_the_longest_title_fits_into_a_request() -> None:
    position = Position("\U0001f600" * 200, ID)
    assert decode(encode(position, BOUND), BOUND, "title") == position
    assert len(encode(position, BOUND)) < 2000


def test_the_moment_of_a_cursor_keeps_its_microseconds() -> None:
    position = Position(datetime(2026, 3, 1, 9, 30, 0, 1), ID)  # noqa: DTZ001 - as rows have it
    assert decode(encode(position, BOUND), BOUND, "updated_at") == position
