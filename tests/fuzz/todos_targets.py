"""What todos reads from clients, held to what it promises."""

import json
import re
from datetime import UTC, date, datetime

from runtime import strict_json
from runtime.problems import ProblemError
from tests.fuzz.json_oracle import short_integer
from todos.domain import recurrence_rule
from todos.domain.occurrences import can_occur, next_occurrence
from todos.domain.preconditions import condition
from todos.http import cursor, opaque_token, sync_token
from todos.http.body import MAX_FAULTS, parse_patch, parse_todo
from todos.http.import_body import read_items
from todos.http.query import changes_query, filter_query, list_query
from todos.portability import ical_text
from todos.store.list_statements import SORT_FIELDS

USER = "user"
BOUND = opaque_token.binding(b"list")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
DUE: tuple[date | datetime, ...] = (date(2024, 2, 29), datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
JSON = [(b"content-type", b"application/json")]
MERGE_PATCH = [(b"content-type", b"application/merge-patch+json")]
UNESCAPED = {"\\n": "\n", "\\;": ";", "\\,": ",", "\\\\": "\\"}
MAX_LINE_OCTETS = 75


def position(data: bytes) -> None:
    """`data` is a cursor or sync token, or the JSON behind our own binding; what is accepted has one spelling."""
    text = data.decode("latin-1")
    try:
        parts = strict_json.parse(data)
    except ValueError:
        parts = None
    listed = parts if isinstance(parts, list) else []
    for field in SORT_FIELDS:
        for candidate in (text, opaque_token.encode(BOUND, *listed)):
            try:
                found = cursor.decode(candidate, BOUND, field)
            except opaque_token.NotOursError:
                continue
            assert cursor.encode(found, BOUND) == candidate
    binding = opaque_token.binding(b"changes " + USER.encode())
    for candidate in (text, opaque_token.encode(binding, *listed)):
        try:
            since = sync_token.decode(candidate, USER)
        except opaque_token.NotOursError:
            continue
        assert since is None or sync_token.encode(since, USER) == candidate


def query(data: bytes) -> None:
    """A query that is accepted means the same on the next page."""
    for read in (filter_query, lambda text: changes_query(text, USER)):
        try:
            read(data)
        except ProblemError as problem:
            assert problem.faults or problem.code == "sync_reset"
    try:
        found = list_query(data, USER)
    except ProblemError as problem:
        assert problem.faults
        return
    again = list_query(found.repeated.encode(), USER)
    assert (again.bound_to, again.limit, again.repeated) == (found.bound_to, found.limit, found.repeated)


def json_text(data: bytes) -> None:
    """The strict reader takes nothing that the standard library refuses, and reads the same."""
    try:
        value = strict_json.parse(data, most_values=50)
    except (ValueError, strict_json.TooManyValuesError):
        return
    assert value == json.loads(data, parse_int=short_integer)


def merge_patch(data: bytes) -> None:
    """A patch that is accepted is accepted again as it was read; a refusal names up to 50 faults."""
    for read, headers in ((parse_todo, JSON), (parse_patch, MERGE_PATCH)):
        try:
            read(headers, data)
        except ProblemError as problem:
            assert problem.code == "bad_request" or 0 < len(problem.faults) <= MAX_FAULTS
    try:
        changes = parse_patch(MERGE_PATCH, data)
    except ProblemError:
        return
    written = {name: _written(value) for name, value in changes.items()}
    assert parse_patch(MERGE_PATCH, json.dumps(written).encode()) == changes


def _written(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value


def import_(data: bytes) -> None:
    """An import is read to its end or refused with up to 50 faults."""
    steps = read_items(JSON, data)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        assert len({item["id"] for item in end.value}) == len(end.value)
    except ProblemError as problem:
        assert problem.code in {"bad_request", "quota"} or 0 < len(problem.faults) <= MAX_FAULTS


def rule(data: bytes) -> None:
    """A recurrence rule that is accepted has one spelling, and every todo with it can be completed."""
    try:
        found = recurrence_rule.parse(data.decode("latin-1"))
    except ValueError:
        return
    assert recurrence_rule.parse(str(found)) == found
    assert recurrence_rule.canonical(str(found)) == str(found)
    if not can_occur(found):
        return
    for due in DUE:
        try:
            found.check_due(due)
        except ValueError:
            continue
        following = next_occurrence(found, due, "Europe/Berlin", None, NOW)
        assert following is None or following.due > due


def entity_tags(data: bytes) -> None:
    """A condition is read or refused; each version that it names is one of its tags."""
    try:
        found = condition([(b"if-match", data)], b"if-match")
    except ProblemError:
        return
    assert found is not None
    assert {b'"%d"' % version for version in found.versions} <= found.tags


def calendar(data: bytes) -> None:
    """Whatever text a todo has, a calendar says exactly that, in lines of up to 75 octets."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", data.decode(errors="replace"))
    written = ical_text.lines(f"DESCRIPTION:{ical_text.escape(text)}")
    *folded, end = written.split(b"\r\n")
    assert end == b""
    assert max(map(len, folded)) <= MAX_LINE_OCTETS
    for line in folded:
        line.decode()
    unfolded = written.replace(b"\r\n ", b"").decode().removesuffix("\r\n").removeprefix("DESCRIPTION:")
    assert re.sub(r"\\.", lambda escape: UNESCAPED[escape[0]], unfolded) == text
