"""One request and its response, between the connection and the application."""

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus

from strict_http.asgi import App, Headers, Message, Scope, respond
from strict_http.errors import ErrorResponses, Response
from strict_http.flow import Flow

_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110 section 5.6.2, in lower case as ASGI has it: no second spelling of a name that frames the response."""
_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte != ord("\t"))
"""What no field value may hold (RFC 9110 section 5.5); CR and LF are among them, and each line has one of both."""
_FRAMING = frozenset({b"content-length", b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"trailer"})
_BODILESS = (204, 304)
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {HTTPStatus(status).phrase if status in HTTPStatus else ''}\r\n".encode()
    for status in range(100, 600)
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger("strict_http")


class Exchange:
    """Runs the application for one request, and frames what it responds.

    Attributes:
        request_complete: the whole request has arrived.
        response_started: the application has sent the head of its response.
        response_complete: and the end of its body.
        received: bytes of the request's body so far.
        keep_alive: whether another request may follow.
        early: the response began before the request was complete; the protocol closes the connection after it.
    """

    def __init__(
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: Flow,
        default_headers: Headers,
        errors: ErrorResponses,
        on_complete: Callable[[], None],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.scope = scope
        self.request_complete = False
        self.response_started = False
        self.response_complete = False
        self.received = 0
        self.keep_alive = keep_alive
        self.early = False
        self._transport = transport
        self._flow = flow
        self._default_headers = default_headers
        self._errors = errors
        self._on_complete = on_complete
        self._expects_continue = expects_continue
        self._disconnected = False
        self._arrived = asyncio.Event()
        self._body = bytearray()
        self._head = b""
        self._chunked = False
        self._until_close = False
        """The response ends with the connection, as HTTP/1.0 has no chunks (RFC 9112 section 6.1)."""
        self._remaining = 0

    def add_body(self, body: bytes) -> int:
        """Add what came of the request's body, and return how many bytes wait for the application."""
        self._expects_continue = False
        self._body += body
        self.received += len(body)
        self._arrived.set()
        return len(self._body)

    def complete_request(self) -> None:
        self.request_complete = True
        self._arrived.set()

    def abandon(self) -> None:
        """Report to the application that its client has disconnected; send nothing more of the response."""
        self._disconnected = True
        self._expects_continue = False
        self._arrived.set()

    def connection_lost(self) -> None:
        self._disconnected = self._disconnected or not self.response_complete
        self._arrived.set()

    async def run(self, app: App) -> None:
        """Run the application to its end, and respond in its place where it does not."""
        error: BaseException | None = None
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as raised:  # noqa: BLE001 - a cancellation too: it is the end of this task
            error = raised
        if self._disconnected or self.response_started:
            self._end(error)
        else:
            await self._respond_in_place(error)
        self._on_complete = _nothing

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            log.error("unhandled exception", exc_info=error)
        if not self._disconnected and not self.response_complete:
            if self._until_close:
                _reset_on_close(self._transport)
            self._transport.close()

    async def _respond_in_place(self, error: BaseException | None) -> None:
        status, headers, body = self._errors.failed(error)
        await respond(self.send, status, [*headers, (b"connection", b"close")], body)

    async def receive(self) -> Message:
        """What the application receives (ASGI HTTP, version 2.3)."""
        if self._expects_continue and not self._transport.is_closing():
            self._transport.write(_CONTINUE)
            self._expects_continue = False
        if not self._disconnected and not self.response_complete:
            self._flow.resume_reading()
            await self._arrived.wait()
            self._arrived.clear()
        if self._disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self._body = self._body, bytearray()
        return {"type": "http.request", "body": bytes(body), "more_body": not self.request_complete}

    async def send(self, message: Message) -> None:
        """What the application sends (ASGI HTTP, version 2.3).

        Raises:
            RuntimeError: the application frames its response itself, would split it, or breaks its own framing.
        """
        if self._flow.write_paused and not self._disconnected:
            await self._flow.drain()
        if self._disconnected:
            return
        if not self.response_started:
            self._start(message)
        elif not self.response_complete:
            self._continue(message)
        else:
            raise RuntimeError("a response continues after its end")

    def _start(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError("a response starts with its head")
        status, fields = message["status"], [*self._default_headers, *message.get("headers", ())]
        self._frame(status, fields)
        head = b"".join([b"%b: %b\r\n" % field for field in fields])
        # one search over all lines: one for each name and each value costs more than all the rest here
        if len(head.translate(None, _CONTROLS)) != len(head) - 2 * len(fields):
            raise RuntimeError("a header of a response holds a forbidden character")
        self.response_started = True
        self._expects_continue = False
        self._head = b"%b%b\r\n" % (_STATUS_LINES[status], head)

    def _frame(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        """Decide how the end of the body shows (RFC 9112 section 6), and whether another request may follow."""
        length, closes = _read_framing(fields)
        self._chunked = self._until_close = False
        if not self.request_complete:
            self.early = True
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            self._remaining = 0
        elif length is not None:
            self._remaining = length
        elif self.scope["http_version"] == "1.0":
            self._until_close = True
        else:
            self._chunked = True
            fields.append((b"transfer-encoding", b"chunked"))
        if not closes and (self.early or not self.keep_alive):
            fields.append((b"connection", b"close"))
        self.keep_alive = self.keep_alive and not closes

    def _continue(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError("a response continues with its body")
        body, more_body = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            body = b""
        if self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = body if more_body else body + b"0\r\n\r\n"
        elif not self._until_close:
            self._remaining -= len(body)
            if self._remaining < 0 or (self._remaining and not more_body):
                raise RuntimeError("a response is not as long as it says")
        # head and body in one write: each is a system call, and often a packet
        if data := self._head + body:
            self._transport.write(data)
            self._head = b""
        if not more_body:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self._arrived.set()
        # after an early response it is the protocol that closes: unread bytes would turn a close into a reset
        if not self.keep_alive and not self.early:
            self._transport.close()
        self._on_complete()


def _read_framing(fields: Headers) -> tuple[int | None, bool]:
    """The length that the application gave its response, and whether it wants the connection closed after it."""
    length: int | None = None
    closes = False
    for name, value in fields:
        if name not in _FRAMING:
            if not _is_name(name):
                raise RuntimeError("a header of a response has no name")
        elif name == b"content-length":
            if length is not None or not value.isdigit():
                raise RuntimeError("a response's length is unclear")
            length = int(value)
        elif name == b"connection" and value == b"close":
            closes = True
        else:
            raise RuntimeError("a response frames itself")
    return length, closes


@lru_cache(maxsize=256)  # applications have few
def _is_name(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None


def _reset_on_close(transport: asyncio.Transport) -> None:
    """An orderly end would make what came so far look whole (RFC 9112 section 8)."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _nothing() -> None:
    """Takes the place of the protocol's callback: the two would hold each other."""


def error_response(response: Response, default_headers: Headers, *, with_body: bool) -> bytes:
    """The bytes of a whole response after which the connection closes."""
    status, headers, body = response
    fields = [*default_headers, *headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    lines = [_STATUS_LINES[status], *(b"%b: %b\r\n" % field for field in fields), b"\r\n"]
    return b"".join([*lines, body] if with_body else lines)
