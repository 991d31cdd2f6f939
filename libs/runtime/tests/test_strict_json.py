"""One reader of strict JSON, which reads the same however long the text is, and no more than it may."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import strict_json
from runtime.strict_json import NotAnArrayError, TooManyValuesError

SPACES = st.text(" \t\n\r", max_size=3)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=30
)


def count(value: object) -> int:
    """The values in `value`, itself included."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + sum(count(item) for item in inner)


def read_in_steps(octets: bytes) -> list[object]:
    decoding = strict_json.decode(octets)
    while True:
        try:
            next(decoding)
        except StopIteration as finished:
            return list(strict_json.elements(finished.value, most_values=500))


def spread(value: object) -> bytes:
    """Written with so much space between that no part is read in one go."""
    return json.dumps(value, indent=1001, ensure_ascii=False).encode()


@given(value=values, before=SPACES, after=SPACES)
def test_what_was_written_is_read(value: object, before: str, after: str) -> None:
    octets = f"{before}{json.dumps(value)}{after}".encode()
    assert strict_json.parse(octets) == value
    assert strict_json.parse(octets, most_values=count(value)) == value


@given(value=values)
def test_a_long_text_is_read_as_a_short_one(value: object) -> None:
    assert strict_json.parse(spread(value), most_values=count(value)) == value
    assert read_in_steps(spread([value, value])) == [value, value]
    assert read_in_steps(json.dumps([value, value]).encode()) == [value, value]


@given(value=values.filter(lambda value: count(value) > 1), data=st.data())
def test_reading_ends_with_the_first_value_too_many(value: object, data: st.DataObject) -> None:
    most = data.draw(st.integers(1, count(value) - 1))
    with pytest.raises(TooManyValuesError) as raised:
        strict_json.parse(spread(value), most_values=most)
    assert count(raised.value.read) <= most + 1
    container = value
    for part in raised.value.location:
        container = container[part]  # type: ignore[index]  # a place in `value`
    assert isinstance(container, dict | list)


def test_the_names_before_the_first_value_too_many_are_known() -> None:
    octets = json.dumps({str(number): number for number in range(5000)}).encode()
    with pytest.raises(TooManyValuesError) as raised:
        strict_json.parse(octets, most_values=100)
    assert raised.value.read == {str(number): number if number < 99 else None for number in range(100)}
    assert raised.value.location == ()


BROKEN = [
    b"",
    b" ",
    b"{",
    b"[",
    b"[1",
    b"[1,",
    b"[1,]",
    b"[1}",
    b"[1 2]",
    b"[,1]",
    b"[1]]",
    b"[1],",
    b"{'a': 1}",
    b'{"a": 1,}',
    b'{"a"}',
    b'{"a": 1]',
    b'{"a": 1 "b": 2}',
    b'{"a" 1}',
    b"{1: 2}",
    b'{"a": 1} {}',
    b'{"a": 1, "a": 1}',
    b'[{"a": 1, "a": 2}]',
    b'{"b": {"a": 1, "a": 2}}',
    b"[NaN]",
    b"[Infinity]",
    b"[-Infinity]",
    b"[01]",
    b"[.5]",
    b"[tru]",
    b'["\\ud800"]',
    b'{"\\udfff": 1}',
    b'["\\q"]',
    b'["\n"]',
    b'["\xff"]',
    b'["\xed\xa0\x80"]',
    b"\xef\xbb\xbf[]",
    "[1]".encode("utf-16"),
    b"[/* */]",
    b"[" * 100_000,
    b'{"a":' * 50_000,
]


@pytest.mark.parametrize("octets", BROKEN)
@pytest.mark.parametrize("most", [None, 1000])
def test_what_is_not_strict_json_is_refused_whole(octets: bytes, most: int | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.parse(octets, most_values=most)


@pytest.mark.parametrize("octets", BROKEN)
def test_what_is_not_strict_json_is_refused_in_a_long_text(octets: bytes) -> None:
    long = b'{"a": [' + b" " * 3000 + octets + b" " * 3000 + b"]}"
    with pytest.raises(ValueError, match=r"."):
        strict_json.parse(long if octets.strip() else long[:-2], most_values=1000)


@pytest.mark.parametrize("octets", [octets for octets in BROKEN if octets.strip()])
def test_what_is_not_strict_json_is_refused_within_an_array_of_many(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_in_steps(b"[1, " + octets + b"]")


@pytest.mark.parametrize("octets", [b"{}", b' {"a": [1]}', b"7", b'"x"', b"null"])
def test_what_is_no_array_has_no_elements(octets: bytes) -> None:
    with pytest.raises(NotAnArrayError):
        read_in_steps(octets)


@pytest.mark.parametrize("octets", [b"[]", b" [ ] "])
def test_an_empty_array_has_none(octets: bytes) -> None:
    assert read_in_steps(octets) == []


def test_elements_are_there_before_what_follows_is_read() -> None:
    found = strict_json.elements('[1, {"a": 2}, x', most_values=10)
    assert [next(found), next(found)] == [1, {"a": 2}]
    with pytest.raises(ValueError, match=r"."):
        next(found)


@pytest.mark.parametrize("digits", ["9" * 21, "-" + "9" * 20, "9" * 5000])
def test_an_integer_beyond_64_bits_is_a_float(digits: str) -> None:
    assert strict_json.parse(digits.encode()) == float(digits)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(octets: bytes) -> None:
    for most in (None, 1, 5):
        try:
            strict_json.parse(octets, most_values=most)
        except (ValueError, TooManyValuesError):
            continue


def test_characters_are_whole_where_a_long_text_is_decoded_in_pieces() -> None:
    text = "a" + "€" * 300_000
    assert read_in_steps(json.dumps([text], ensure_ascii=False).encode()) == [text]
