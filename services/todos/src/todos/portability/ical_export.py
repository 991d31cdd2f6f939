"""The calendar of an export (RFC 5545): a VTODO for each todo, each time zone before it is first named."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from icalendar import Todo
from icalendar.prop import vRecur

from todos.portability.ical_timezone import FIRST_YEAR, LAST_YEAR, vtimezone
from todos.store.statements import TodoRow

PRIORITIES = (0, 9, 5, 3, 1)
"""By rank, from `none` to `urgent`."""

_OPENING = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//pair//todos//EN\r\nCALSCALE:GREGORIAN\r\n"
_CLOSING = b"END:VCALENDAR\r\n"


class Calendar:
    """One document."""

    media_type = b"text/calendar; charset=utf-8"
    filename = "todos.ics"

    def __init__(self) -> None:
        self._told: set[str] = set()

    def opening(self) -> bytes:
        return _OPENING

    def batch(self, rows: Sequence[TodoRow]) -> bytes:
        pieces: list[bytes] = []
        for row in rows:
            due = _due(row)
            if isinstance(due, datetime) and due.tzinfo is not UTC and row.timezone not in self._told:
                self._told.add(row.timezone)
                pieces.append(vtimezone(row.timezone))
            pieces.append(_vtodo(row, due).to_ical())
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
    return moment if local.fold and row.recurrence is None else local


def _vtodo(row: TodoRow, due: date | datetime | None) -> Todo:
    todo = Todo()
    todo.add("uid", row.id)
    todo.add("dtstamp", row.updated_at.replace(tzinfo=UTC))
    todo.add("created", row.created_at.replace(tzinfo=UTC))
    todo.add("last-modified", row.updated_at.replace(tzinfo=UTC))
    todo.add("summary", row.title)
    if row.description:
        todo.add("description", row.description)
    todo.add("status", "COMPLETED" if row.completed else "NEEDS-ACTION")
    if row.completed_at:
        todo.add("completed", row.completed_at.replace(tzinfo=UTC))
    todo.add("priority", PRIORITIES[row.priority])
    if row.tags:
        todo.add("categories", row.tags)
    if due is not None:
        todo.add("due", due)
        if row.recurrence is not None:
            todo.add("dtstart", due)
            todo.add("rrule", vRecur.from_ical(row.recurrence))
    return todo
