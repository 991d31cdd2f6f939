"""One request and its answer, as uvicorn runs them, and what it leaves open."""

import asyncio
import logging
import socket
import struct
from collections.abc import Coroutine
from typing import Any, cast, override

from uvicorn._types import ASGI3Application, ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from runtime.asgi import Headers, Send, respond
from runtime.identifiers import new_uuid
from runtime.problems import ProblemError, render

log = logging.getLogger("runtime.protocol")


class Exchange(RequestResponseCycle):
    """Says `Connection: close` where the answer begins before the request has ended, and knows HTTP/1.0.

    Attributes:
        early: such an answer has begun; the protocol closes the connection behind it.
        unframed: the answer ends with the connection, as HTTP/1.0 knows no chunks (RFC 9112 section 6.1).
    """

    early = False
    unframed = False

    @override
    def send(self, message: ASGISendEvent) -> Coroutine[Any, Any, None]:
        # not a coroutine of its own: this runs for every piece of every answer
        if not self.response_started:
            if self.more_body:
                self.early = True
                self.keep_alive = False
            if self.scope["http_version"] == "1.0":
                self._begin_for_http_1_0(message)
        elif self.early:
            # uvicorn would close at the end of the answer, and unread bytes would turn that into a reset
            self.keep_alive = True
        if self.unframed:
            self.expected_content_length = len(cast(HTTPResponseBodyEvent, message).get("body", b""))
        return super().send(message)

    def _begin_for_http_1_0(self, message: ASGISendEvent) -> None:
        headers = cast(HTTPResponseStartEvent, message).get("headers", ())
        self.unframed = all(name.lower() != b"content-length" for name, _ in headers)
        if self.unframed:
            self.chunked_encoding = False

    @override
    async def run_asgi(self, app: ASGI3Application) -> None:
        if self.scope["http_version"] != "1.0":
            await super().run_asgi(app)
            return

        async def whole_or_reset(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - as uvicorn calls it
            try:
                await app(scope, receive, send)
            finally:
                if self.unframed and not self.response_complete and not self.disconnected:
                    _reset_on_close(self.transport)

        await super().run_asgi(whole_or_reset)

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


def refusal(problem: ProblemError, default_headers: Headers, *, with_body: bool) -> bytes:
    """The whole answer, in bytes, to a request that reaches no application; logged under its id."""
    request_id = new_uuid()
    fields = {"request_id": request_id, "status": problem.status, "code": problem.code, "reason": problem.detail}
    log.info("refused", extra={"fields": fields})
    status, headers, body = render(problem, request_id)
    headers = [*default_headers, *headers, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % field for field in headers), b"\r\n"]
    return b"".join([*lines, body] if with_body else lines)
