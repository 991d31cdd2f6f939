"""The todo that follows a recurring one, once that is completed."""

from datetime import datetime
from typing import NamedTuple

from todos.domain import due_date, occurrences, recurrence_rule
from todos.domain.fields import TodoFields


class Successor(NamedTuple):
    """The next todo; `wall` is the local time that the series keeps, where the clocks skip it on that day."""

    fields: TodoFields
    wall: datetime | None


def successor(before: TodoFields, wall: datetime | None, after: TodoFields, now: datetime) -> Successor | None:
    """What follows where `after`, written over `before`, completes a todo; `wall` belongs to `before`.

    The rule and the due date of `after` have to go together. None where it does not recur, and where the rule has
    ended.
    """
    if after.recurrence is None or after.due_date is None:
        return None
    rule = recurrence_rule.parse(after.recurrence)
    next_rule = rule.after_completion()
    if next_rule is None:
        return None
    kept_wall = wall if _starts_as(before, after) else None
    occurrence = occurrences.next_occurrence(rule, after.due_date, after.timezone, kept_wall, now)
    if occurrence is None:
        return None
    changes = {"completed": False, "due_date": occurrence.due, "recurrence": str(next_rule)}
    return Successor(after.model_copy(update=changes), occurrence.wall)


def _starts_as(before: TodoFields, after: TodoFields) -> bool:
    """Whether both are due at one moment, by the clocks of one time zone."""
    due_before, due_after = (due_date.resolve(fields.due_date, fields.timezone)[1] for fields in (before, after))
    return (due_before, before.timezone) == (due_after, after.timezone)
