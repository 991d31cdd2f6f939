"""Entity tags are compared as RFC 9110 says."""

import pytest

from runtime.problems import ProblemError
from todos.domain.preconditions import Condition, condition


def read(*lines: bytes) -> Condition | None:
    return condition([(b"if-match", line) for line in lines], b"if-match")


def test_no_header_is_no_condition() -> None:
    assert read() is None


@pytest.mark.parametrize(
    "line", [b"", b"7", b'"7', b"'7'", b'"7" "8"', b'w/"7"', b"W/7", b'*, "7"', b"**", b'"a"b"', b'"7";']
)
def test_a_malformed_condition_is_a_bad_request(line: bytes) -> None:
    with pytest.raises(ProblemError) as raised:
        read(line)
    assert raised.value.code == "bad_request"


def test_lists_may_span_lines_and_hold_empty_items() -> None:
    found = read(b'"1" ,, W/"2"', b'"a,b"')
    assert found
    assert found.tags == {b'"1"', b'W/"2"', b'"a,b"'}


def test_strong_comparison_refuses_weak_tags() -> None:
    found = read(b'W/"1", "2"')
    assert found
    assert not found.holds_strongly(b'"1"')
    assert found.holds_strongly(b'"2"')
    assert found.versions == [2]


def test_weak_comparison_takes_both() -> None:
    found = read(b'W/"1", "2"')
    assert found
    assert all(found.holds_weakly(tag) for tag in (b'"1"', b'W/"1"', b'"2"', b'W/"2"'))
    assert not found.holds_weakly(b'"3"')


def test_a_star_is_whatever_is_there() -> None:
    found = read(b" * ")
    assert found
    assert found.holds_strongly(b'"1"')
    assert found.holds_weakly(b'W/"9"')


@pytest.mark.parametrize("line", [b'"007"', b'"0"', b'"1.0"', b'"-1"', b'"99999999999999999999"', b'""'])
def test_another_spelling_of_a_number_is_no_version(line: bytes) -> None:
    found = read(line)
    assert found
    assert found.versions == []
