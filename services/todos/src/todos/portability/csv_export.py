"""The CSV of an export (RFC 4180), in which no cell starts a formula."""

import csv
import io
import re
from collections.abc import Sequence
from datetime import datetime

from todos.domain.due_date import utc_text
from todos.domain.fields import PRIORITIES, TodoFields
from todos.store.statements import TodoRow
from todos.store.todo_json import due_text

COLUMNS = (*TodoFields.model_fields, "id", "completed_at", "created_at", "updated_at")

# what spreadsheets skip before a formula, and its first characters, the full-width ones of East Asia included
_FORMULA = re.compile(r"[\s\ufeff\u200b-\u200f\u2060\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66]")


class Sheet:
    """One document, with a header row."""

    media_type = b"text/csv; charset=utf-8; header=present"
    filename = "todos.csv"

    def opening(self) -> bytes:
        return _lines([COLUMNS])

    def batch(self, rows: Sequence[TodoRow]) -> bytes:
        return _lines([_cells(row) for row in rows])

    def closing(self) -> bytes:
        return b""


def safe(text: str) -> str:
    """The text led by an apostrophe, where a spreadsheet would read it as a formula."""
    return f"'{text}" if _FORMULA.match(text) or text[:1] in ("\t", "\r", "\n") else text


def _cells(row: TodoRow) -> list[str]:
    return [
        safe(row.title),
        safe(row.description),
        "true" if row.completed else "false",
        PRIORITIES[row.priority],
        safe(",".join(row.tags)),
        due_text(row) or "",
        row.timezone,
        row.recurrence or "",
        str(row.order),
        row.id,
        _time(row.completed_at),
        _time(row.created_at),
        _time(row.updated_at),
    ]


def _time(moment: datetime | None) -> str:
    return utc_text(moment) if moment else ""


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
