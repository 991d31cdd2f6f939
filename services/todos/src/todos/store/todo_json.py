"""The JSON of a todo, field by field in the contract's order."""

import json

from todos.domain.due_date import rfc3339
from todos.domain.fields import STAMPS, TodoFields
from todos.store.columns import TodoRow

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=rfc3339).encode
"""Compact JSON; datetimes in it must be in UTC."""


def todo_document(row: TodoRow, base: str) -> dict[str, object]:
    """The todo, to be encoded."""
    stamps = {name: getattr(row, name) for name in STAMPS}
    return {**_addressed(row.id, base), **vars(row.fields), **stamps}


def draft(todo_id: str, fields: TodoFields, base: str) -> str:
    """A todo to be created, null for all that the database sets."""
    return encode({**_addressed(todo_id, base), **vars(fields), **dict.fromkeys(STAMPS)})


def _addressed(todo_id: str, base: str) -> dict[str, str]:
    return {"id": todo_id, "url": f"{base}/v1/todos/{todo_id}"}
