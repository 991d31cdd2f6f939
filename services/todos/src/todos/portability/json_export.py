"""The JSON of an export: a bare array of todos, one a line, as the list shows them and an import reads them."""

from collections.abc import Sequence

from todos.store.columns import TodoRow
from todos.store.todo_json import encode, todo_document


class TodoList:
    """One document; `base` is the base URL of this API as the caller used it."""

    media_type = b"application/json"
    filename = "todos.json"

    def __init__(self, base: str) -> None:
        self._base = base
        self._separator = b"\n"

    def opening(self) -> bytes:
        return b"["

    def batch(self, rows: Sequence[TodoRow]) -> bytes:
        pieces: list[bytes] = []
        for row in rows:
            pieces += (self._separator, encode(todo_document(row, self._base)).encode())
            self._separator = b",\n"
        return b"".join(pieces)

    def closing(self) -> bytes:
        return b"\n]\n"
