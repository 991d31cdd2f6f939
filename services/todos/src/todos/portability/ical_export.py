"""The calendar of an export (RFC 5545): a VTODO for each todo, each time zone before it is first named."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from todos.domain.fields import Priority, TodoFields
from todos.portability import ical_text
from todos.portability.ical_timezone import FIRST_YEAR, LAST_YEAR, vtimezone
from todos.store.columns import TodoRow

PRIORITIES: dict[Priority, int] = {"none": 0, "low": 9, "medium": 5, "high": 3, "urgent": 1}

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
            due, timezone = _due(row.fields), row.fields.timezone
            if isinstance(due, datetime) and due.tzinfo is not UTC and timezone not in self._written_zones:
                self._written_zones.add(timezone)
                pieces.append(vtimezone(timezone))
            pieces.append(ical_text.lines(*_vtodo(row, due)))
        return b"".join(pieces)

    def closing(self) -> bytes:
        return _CLOSING


def _due(fields: TodoFields) -> date | datetime | None:
    """The due date in the local time of its zone if that is unambiguous, or else in UTC."""
    due = fields.due_date
    if not isinstance(due, datetime) or fields.timezone == "UTC" or not FIRST_YEAR <= due.year <= LAST_YEAR:
        return due
    local = due.astimezone(ZoneInfo(fields.timezone))
    # the second of two equal local times is read as the first: a series keeps its local time, others their moment
    return due if local.fold and not _goes_on(fields) else local


def _goes_on(fields: TodoFields) -> bool:
    """Whether it is the open todo of a series; a completed one has been followed by the next."""
    return fields.recurrence is not None and not fields.completed


def _vtodo(row: TodoRow, due: date | datetime | None) -> Iterator[str]:
    fields, updated = row.fields, ical_text.utc(row.updated_at)
    yield "BEGIN:VTODO"
    yield f"UID:{row.id}"
    yield f"DTSTAMP:{updated}"
    yield f"CREATED:{ical_text.utc(row.created_at)}"
    yield f"LAST-MODIFIED:{updated}"
    yield f"SUMMARY:{ical_text.escape(fields.title)}"
    if fields.description:
        yield f"DESCRIPTION:{ical_text.escape(fields.description)}"
    yield f"STATUS:{'COMPLETED' if fields.completed else 'NEEDS-ACTION'}"
    if row.completed_at:
        yield f"COMPLETED:{ical_text.utc(row.completed_at)}"
        yield "PERCENT-COMPLETE:100"
    yield f"PRIORITY:{PRIORITIES[fields.priority]}"
    if fields.tags:
        yield f"CATEGORIES:{','.join(map(ical_text.escape, fields.tags))}"
    if due is not None:
        yield f"DUE{_when(due)}"
        if _goes_on(fields):
            yield f"DTSTART{_when(due)}"
            yield f"RRULE:{fields.recurrence}"
    yield "END:VTODO"


def _when(due: date | datetime) -> str:
    if not isinstance(due, datetime):
        return f";VALUE=DATE:{ical_text.day(due)}"
    if due.tzinfo is UTC:
        return f":{ical_text.utc(due)}"
    return f";TZID={due.tzinfo}:{ical_text.local(due)}"
