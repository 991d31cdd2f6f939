"""One request and its answer, as uvicorn runs them, and what it leaves open."""

import asyncio
import logging
import re
import socket
import struct
from functools import lru_cache
from typing import cast, override

from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from runtime.identifiers import new_uuid
from runtime.problems import ProblemError, render
from strict_http.asgi import Headers, Send, respond

_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110 section 5.6.2, in lower case as ASGI has it: no second spelling of a name that frames the answer."""
_CONTROLS = bytes(byte for byte in (*range(0x20), 0x7F) if byte != ord("\t"))
"""What no value holds (RFC 9110 section 5.5); CR and LF among them, of which each line has one."""
_FRAMING = frozenset({b"content-length", b"connection", b"transfer-encoding", b"keep-alive", b"upgrade", b"trailer"})
_BODILESS = (204, 304)

log = logging.getLogger("strict_http.protocol")


class Exchange(RequestResponseCycle):
    """Says `Connection: close` where the answer begins before the request has ended, and knows HTTP/1.0.

    Attributes:
        early: such an answer has begun; the protocol closes the connection behind it.
        unframed: the answer ends with the connection, as HTTP/1.0 knows no chunks (RFC 9112 section 6.1).
    """

    early = False
    unframed = False
    _head = b""

    @override
    async def send(self, message: ASGISendEvent) -> None:
        # uvicorn's own searches each name and each value by itself, which costs more than all the rest here
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self._begin(cast(HTTPResponseStartEvent, message))
        elif not self.response_complete:
            self._continue(cast(HTTPResponseBodyEvent, message))
        else:
            raise RuntimeError("an answer goes on after its end")

    def _begin(self, message: HTTPResponseStartEvent) -> None:
        if message["type"] != "http.response.start":
            raise RuntimeError("an answer begins with its head")
        status, fields = message["status"], [*self.default_headers, *message.get("headers", ())]
        self._frame(status, fields)
        head = b"".join([b"%b: %b\r\n" % field for field in fields])
        if len(head.translate(None, _CONTROLS)) != len(head) - 2 * len(fields):
            raise RuntimeError("a header of an answer holds a forbidden character")
        self.response_started = True
        self.waiting_for_100_continue = False
        self._head = b"%b%b\r\n" % (STATUS_LINE[status], head)

    def _frame(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        """Settle how the body is told from what follows (RFC 9112 section 6), and whether anything may follow."""
        length, closes = _read_framing(fields)
        self.chunked_encoding = self.unframed = False
        if self.more_body:
            self.early = True
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            self.expected_content_length = 0
        elif length is not None:
            self.expected_content_length = length
        elif self.scope["http_version"] == "1.0":
            self.unframed = True
        else:
            self.chunked_encoding = True
            fields.append((b"transfer-encoding", b"chunked"))
        if not closes and (self.early or not self.keep_alive):
            fields.append((b"connection", b"close"))
        self.keep_alive = self.keep_alive and not closes

    def _continue(self, message: HTTPResponseBodyEvent) -> None:
        if message["type"] != "http.response.body":
            raise RuntimeError("an answer goes on with its body")
        body, more_body = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            body = b""
        if self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = body if more_body else body + b"0\r\n\r\n"
        elif not self.unframed:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more_body):
                raise RuntimeError("an answer is not as long as it says")
        # head and body in one write: each is a system call, and often a packet
        if data := self._head + body:
            self.transport.write(data)
            self._head = b""
        if not more_body:
            self.response_complete = True
            self.message_event.set()
            # behind an early answer it is the protocol that closes: unread bytes would turn a close into a reset
            if not self.keep_alive and not self.early:
                self.transport.close()
            self.on_response()

    @override
    async def run_asgi(self, app: ASGI3Application) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException:  # a cancellation too: it is the end of this task
            log.exception("the application failed")
        if not self.response_complete and not self.disconnected:
            await self._end_unfinished()
        self.on_response = _nothing

    async def _end_unfinished(self) -> None:
        if not self.response_started:
            await self.send_500_response()
            return
        if self.unframed:
            _reset_on_close(self.transport)
        self.transport.close()

    def abandon(self) -> None:
        """Let the application hear and say nothing more on this connection."""
        self.disconnected = True
        self.waiting_for_100_continue = False
        self.message_event.set()

    @override
    async def send_500_response(self) -> None:
        request_id = new_uuid()
        log.error("no answer from the application", extra={"fields": {"request_id": request_id}})
        status, headers, body = render(ProblemError("internal", "Something went wrong."), request_id)
        await respond(cast(Send, self.send), status, [*headers, (b"connection", b"close")], body)


def _read_framing(fields: Headers) -> tuple[int | None, bool]:
    """The length that the application gave its answer, and whether it wants the connection closed behind it."""
    length: int | None = None
    closes = False
    for name, value in fields:
        if name not in _FRAMING:
            if not _is_name(name):
                raise RuntimeError("a header of an answer has no name")
        elif name == b"content-length":
            if length is not None or not value.isdigit():
                raise RuntimeError("an answer's length is unclear")
            length = int(value)
        elif name == b"connection" and value == b"close":
            closes = True
        else:
            raise RuntimeError("an answer frames itself")
    return length, closes


@lru_cache(maxsize=256)  # applications have few
def _is_name(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None


def _reset_on_close(transport: asyncio.Transport) -> None:
    """An orderly end would make what came so far look whole (RFC 9112 section 8)."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Flow(FlowControl):
    """Reading that stays paused while `held`, whoever would go on."""

    held = False

    @override
    def resume_reading(self) -> None:
        if self.read_paused and not self.held:
            super().resume_reading()


def _nothing() -> None:
    """Instead of the protocol, which would be held in a circle."""


def refusal(problem: ProblemError, default_headers: Headers, *, with_body: bool) -> bytes:
    """The whole answer, in bytes, to a request that reaches no application; logged under its id."""
    request_id = new_uuid()
    fields = {"request_id": request_id, "status": problem.status, "code": problem.code, "reason": problem.detail}
    log.info("refused", extra={"fields": fields})
    status, headers, body = render(problem, request_id)
    headers = [*default_headers, *headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % field for field in headers), b"\r\n"]
    return b"".join([*lines, body] if with_body else lines)
