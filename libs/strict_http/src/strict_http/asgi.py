"""The types of an ASGI application (ASGI specification, version 3.0)."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

type Message = MutableMapping[str, Any]
type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]
type Headers = Sequence[tuple[bytes, bytes]]
"""Names with their values, in order; of a request, and of what an application answers, in lower case."""


async def respond(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    """Send a whole answer with its `Content-Length`; 204 and 304 carry none."""
    fields = list(headers)
    if status not in (204, 304):
        fields.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
