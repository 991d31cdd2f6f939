"""The calendar of an export (RFC 5545): a VTODO for each todo, each time zone before it is first named."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from todos.portability import ical_text
from todos.portability.ical_timezone import FIRST_YEAR, LAST_YEAR, vtimezone
from todos.store.statements import TodoRow

PRIORITIES = (0, 9, 5, 3, 1)
"""By rank, from `none` to `urgent`."""

_OPENING = ical_text.lines("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//pair//todos//EN", "CALSCALE:GREGORIAN")
_CLOSING = ical_text.lines("END:VCALENDAR")


class Calendar:
    """One document."""

    media_type = b"text/calendar; charset=utf-8"
    filename = "todos.ics"

    def __init__(self) -> None:
        self._written_zones: set[str] = set()

    def opening(self) -> bytes:
        return _OPENING

    def batch(self, rows: Sequence[TodoRow]) -> bytes:
        pieces: list[bytes] = []
        for row in rows:
            due = _due(row)
            if isinstance(due, datetime) and due.tzinfo is not UTC and row.timezone not in self._written_zones:
                self._written_zones.add(row.timezone)
                pieces.append(vtimezone(row.timezone))
            pieces.append(ical_text.lines(*_vtodo(row, due)))
        return b"".join(pieces)

    def closing(self) -> bytes:
        return _CLOSING


def _due(row: TodoRow) -> date | datetime | None:
    """The due date as its calendar has it: on the clocks of its zone, where they can say it, or else in UTC."""
    if row.due_on is not None or row.due_at is None:
        return row.due_on
    moment = row.due_at.replace(tzinfo=UTC)
    if row.timezone == "UTC" or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return moment
    local = moment.astimezone(ZoneInfo(row.timezone))
    # the second of two equal local times reads as the first: a series keeps the clock, anything else the moment
    return moment if local.fold and not _goes_on(row) else local


def _goes_on(row: TodoRow) -> bool:
    """Whether it is the open one of a series; a completed one has made the next, which goes on."""
    return row.recurrence is not None and not row.completed


def _vtodo(row: TodoRow, due: date | datetime | None) -> Iterator[str]:
    updated = ical_text.utc(row.updated_at)
    yield "BEGIN:VTODO"
    yield f"UID:{row.id}"
    yield f"DTSTAMP:{updated}"
    yield f"CREATED:{ical_text.utc(row.created_at)}"
    yield f"LAST-MODIFIED:{updated}"
    yield f"SUMMARY:{ical_text.escape(row.title)}"
    if row.description:
        yield f"DESCRIPTION:{ical_text.escape(row.description)}"
    yield f"STATUS:{'COMPLETED' if row.completed else 'NEEDS-ACTION'}"
    if row.completed_at:
        yield f"COMPLETED:{ical_text.utc(row.completed_at)}"
        yield "PERCENT-COMPLETE:100"
    yield f"PRIORITY:{PRIORITIES[row.priority]}"
    if row.tags:
        yield f"CATEGORIES:{','.join(map(ical_text.escape, row.tags))}"
    if due is not None:
        yield f"DUE{_when(due)}"
        if _goes_on(row):
            yield f"DTSTART{_when(due)}"
            yield f"RRULE:{row.recurrence}"
    yield "END:VTODO"


def _when(due: date | datetime) -> str:
    if not isinstance(due, datetime):
        return f";VALUE=DATE:{ical_text.day(due)}"
    if due.tzinfo is UTC:
        return f":{ical_text.utc(due)}"
    return f";TZID={due.tzinfo}:{ical_text.local(due)}"
