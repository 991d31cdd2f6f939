"""The `since` of a sync, as text."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todos.http.sync_token import decode, encode
from todos.store.sync_position import BEGINNING, SyncPosition

NUMBERS = st.integers(0, 2**63 - 1)


@given(NUMBERS, st.none() | NUMBERS, st.text(min_size=1))
def test_what_was_encoded_is_read_back_by_its_user(number: int, began: int | None, user: str) -> None:
    text = encode(SyncPosition(number, began), user)
    assert decode(text, user) == SyncPosition(number, began)
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


def test_another_users_since_is_told_apart_from_a_malformed_one() -> None:
    assert decode(encode(SyncPosition(7), "alice"), "bob") is None


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).decode().rstrip("=")


BOUND_TO = json.loads(base64.urlsafe_b64decode(encode(BEGINNING, "alice") + "=="))[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "é",
        "a" * 201,
        encode(SyncPosition(7), "alice") + "=",
        encode(SyncPosition(7), "alice")[:-2],
        encoded(7),
        encoded([]),
        encoded([BOUND_TO, 7]),
        encoded([BOUND_TO, -1, None]),
        encoded([BOUND_TO, 2**63, None]),
        encoded([BOUND_TO, 7.0, None]),
        encoded([BOUND_TO, True, None]),
        encoded([BOUND_TO, "7", None]),
        encoded([BOUND_TO, 7, "7"]),
        encoded([7, 7, None]),
        encoded({BOUND_TO: 1, "7": 1, "8": 1}),
        base64.urlsafe_b64encode(f'["{BOUND_TO}", 7, null]'.encode()).decode().rstrip("="),
        encoded("[" * 100),
    ],
)
def test_what_was_never_encoded_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        decode(text, "alice")


def test_a_first_sync_needs_tombstones_only_from_where_it_began() -> None:
    assert SyncPosition(3, 9).needs == 9
    assert SyncPosition(9).needs == 9
