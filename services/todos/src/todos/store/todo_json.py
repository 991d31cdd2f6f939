"""The JSON of a todo, field by field in the contract's order."""

import json
from datetime import datetime

from todos.domain.due_date import utc_text
from todos.domain.fields import PRIORITIES
from todos.store.statements import TodoRow

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Compact JSON, as text."""


def todo_document(row: TodoRow, base: str) -> dict[str, object]:
    """The todo, field by field in the contract's order."""
    return {
        "id": row.id,
        "url": f"{base}/v1/todos/{row.id}",
        "title": row.title,
        "description": row.description,
        "completed": row.completed,
        "priority": PRIORITIES[row.priority],
        "tags": row.tags,
        "due_date": due_text(row),
        "timezone": row.timezone,
        "recurrence": row.recurrence,
        "order": row.order,
        "completed_at": _time(row.completed_at),
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
        "deleted_at": _time(row.deleted_at),
        "next_id": row.next_id,
        "version": row.version,
    }


def due_text(row: TodoRow) -> str | None:
    """The due date in the form it was given, a moment in UTC."""
    return row.due_on.isoformat() if row.due_on else _time(row.due_at)


def _time(moment: datetime | None) -> str | None:
    return utc_text(moment) if moment else None
