"""The CSV of an export (RFC 4180), in which no cell starts a formula."""

import csv
import io
import re
from collections.abc import Sequence
from datetime import date

from todos.domain.due_date import rfc3339
from todos.domain.fields import TodoFields
from todos.store.columns import TodoRow

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
    values = {**vars(row.fields), **row._asdict()}
    return [_cell(values[name]) for name in COLUMNS]


def _cell(value: object) -> str:
    match value:
        case str():
            return safe(value)
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case date():
            return rfc3339(value)
        case list():
            return safe(",".join(value))
        case _:
            return str(value)


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
