"""All todos of one user, or those that match the filters, in constant memory.

Each batch is one statement of its own and as of one moment, in the order of creation: a todo that does not change
appears exactly once; one that is created, changed or deleted meanwhile appears in one of its states or not at all.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Protocol

from todos.database.command import Command, Value
from todos.database.user_session import UserSession
from todos.portability.csv_export import Sheet
from todos.portability.ical_export import Calendar
from todos.portability.json_export import TodoList
from todos.store.columns import TodoRow
from todos.store.list_query import Filters, session_for
from todos.store.list_statements import Shape, Sort, batch_statement

BATCH = 100

MEDIA_TYPES = ("application/json", "text/calendar", "text/csv")


class Format(Protocol):
    """One document, written from its start to its end."""

    media_type: bytes
    filename: str

    def opening(self) -> bytes: ...

    def batch(self, rows: Sequence[TodoRow]) -> bytes: ...

    def closing(self) -> bytes: ...


def open_format(media_type: str, base: str) -> Format:
    """A new document of one of `MEDIA_TYPES`, of todos whose URLs begin with `base`."""
    match media_type:
        case "text/calendar":
            return Calendar()
        case "text/csv":
            return Sheet()
        case _:
            return TodoList(base)


async def batches(scope: UserSession, filters: Filters, *, deleted: bool) -> AsyncIterator[Sequence[TodoRow]]:
    """The user's todos, oldest first; one round trip each.

    Raises:
        ProblemError: `database_unavailable`.
    """
    session = session_for(scope, filters.names)
    shape = Shape(Sort("created_at", descending=False), filters.names, deleted, after_cursor=False)
    values: dict[str, Value] = {**filters.values, "limit": BATCH}
    while True:
        listed = await session.read(Command(batch_statement(shape), values))
        rows = [row.todo for row in listed if row.todo is not None]
        yield rows
        if len(rows) < BATCH:
            return
        shape = replace(shape, after_cursor=True)
        values |= {"after_key": rows[-1].created_at.replace(tzinfo=UTC), "after_id": rows[-1].id}


async def begun[Item](source: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """The same items, the first of them already fetched: a failure before it can still get its own status."""
    first = await anext(source)

    async def items() -> AsyncIterator[Item]:
        yield first
        async for item in source:
            yield item

    return items()


async def written(found: AsyncIterator[Sequence[TodoRow]], document: Format) -> AsyncIterator[bytes]:
    """Streams one piece per batch; where `found` fails the closing bytes are missing, and the client sees a cut."""
    opening = document.opening()
    async for rows in found:
        # in a thread: a hundred todos may take some ten milliseconds
        yield opening + await asyncio.to_thread(document.batch, rows)
        opening = b""
    yield document.closing()
