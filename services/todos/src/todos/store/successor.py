"""The todo that follows a recurring one, once that is completed."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import cast

from runtime.identifiers import new_uuid
from todos.database.command import Value
from todos.domain import due_date, occurrences, recurrence_rule
from todos.store.statements import TodoRow


def successor(found: TodoRow, values: Mapping[str, Value], now: datetime) -> dict[str, Value] | None:
    """The columns of the next todo, where writing `values` over `found` completes a recurring one.

    None where it does not, where `found` has had its successor, and where the rule is used up.
    """
    text = cast(str | None, values["recurrence"])
    if text is None or found.completed or not values["completed"] or found.next_id is not None:
        return None
    rule = recurrence_rule.parse(text)
    next_rule = rule.after_completion()
    if next_rule is None:
        return None
    due_at, timezone = cast(datetime, values["due_at"]), cast(str, values["timezone"])
    is_due_as_before = found.due_at == due_at.replace(tzinfo=None) and found.timezone == timezone
    occurrence = occurrences.next_occurrence(
        rule, cast(date | None, values["due_on"]) or due_at, timezone, found.due_wall if is_due_as_before else None, now
    )
    if occurrence is None:
        return None
    due_on, due_at_next = due_date.resolve(occurrence.due, timezone)
    return {
        **values,
        "id": new_uuid(),
        "completed": False,
        "due_on": due_on,
        "due_at": due_at_next,
        "recurrence": str(next_rule),
        "due_wall": occurrence.wall,
    }
