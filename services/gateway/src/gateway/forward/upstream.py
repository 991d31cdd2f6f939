"""A lean HTTP/1.1 client for one origin (RFC 9112), on the parser that uvicorn uses.

It sends the bytes that it is given, keeps connections open, and streams responses with back-pressure. A connection
that sends more than one response is closed, so that no response reaches another request.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast, override

from gateway.forward.upstream_response import UpstreamResponse
from gateway.upstream_errors import Reason, UpstreamError
from runtime.logs import fields
from runtime.reachability import reason_of
from strict_http.deadline import Deadline, time_limit

log = logging.getLogger("gateway.upstream")

CONNECT_SECONDS = 5.0
LARGE_BYTES = 64 * 1024
"""An error response to a larger request may have come before all of it was sent."""
IDLE_SECONDS = 30.0
"""Shorter than the upstream keeps a connection, so that the gateway closes it first."""


class Upstream:
    """The connections to one host and port."""

    def __init__(self, host: str, port: int, timeout: float, on_change: Callable[[int], None]) -> None:
        """`timeout` in seconds is for the first byte, then between bytes; `on_change` hears the open count."""
        self._host = host
        self._port = port
        self._timeout = timeout
        self._on_change = on_change
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def send(self, request: bytes, *, bodiless: bool, fresh: bool = False) -> UpstreamResponse:
        """Send the bytes of one request and wait for the first byte of its response's body, or for its end.

        Args:
            request: head and body.
            bodiless: the response has no body, whatever its head says (HEAD, RFC 9110 section 9.3.2).
            fresh: open a new connection, for a request that a kept one just failed.

        Raises:
            UpstreamError: there is no response, or only its head.
        """
        connection = self._idle.pop() if self._idle and not fresh else await self._connect()
        response = connection.begin(request, bodiless=bodiless)
        try:
            await response.head
            await response.arrived()
        except BaseException:
            response.abandon()
            raise
        return response

    def close(self) -> None:
        for connection in list(self._open):
            connection.close()

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with time_limit(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._timeout, self._keep, self._forget), self._host, self._port
                )
        except OSError as error:  # TimeoutError too
            log.warning(
                "cannot connect to todos", extra=fields(host=self._host, port=self._port, reason=reason_of(error))
            )
            reason: Reason = "timeout" if isinstance(error, TimeoutError) else "connect"
            raise UpstreamError(reason, written=False) from None
        self._open.add(connection)
        self._on_change(len(self._open))
        return connection

    def _keep(self, connection: "_Connection") -> None:
        self._idle.append(connection)

    def _forget(self, connection: "_Connection") -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._on_change(len(self._open))


class _Connection(asyncio.Protocol):
    def __init__(
        self, timeout: float, keep: Callable[["_Connection"], None], forget: Callable[["_Connection"], None]
    ) -> None:
        self._timeout = timeout
        self._keep = keep
        self._forget = forget
        self._transport: asyncio.Transport
        self._response: UpstreamResponse | None = None
        self._large = False
        self._deadline = Deadline(asyncio.get_running_loop(), self._miss)

    def begin(self, request: bytes, *, bodiless: bool) -> UpstreamResponse:
        """Write the request.

        Raises:
            UpstreamError: the connection is closing; no byte was written.
        """
        if self._transport.is_closing():
            raise UpstreamError("broken", written=False)
        self._response = UpstreamResponse(bodiless=bodiless, pause=self._pause, resume=self._resume, close=self.close)
        self._large = len(request) > LARGE_BYTES
        self._transport.write(request)
        self._deadline.set(self._timeout)
        return self._response

    def close(self) -> None:
        if self._response is not None:
            self._response.fail("broken")
        self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.stop()
        if self._response is not None:
            self._response.end(orderly=exc is None)
        self._forget(self)

    @override
    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.close()
            return
        self._deadline.set(self._timeout)
        response.feed(data)
        if response.complete:
            self._release(response)
        elif response.failed:
            self.close()

    def _release(self, response: UpstreamResponse) -> None:
        """After the last byte: keep the connection only if both sides are done with it."""
        self._response = None
        unread = self._large and response.status >= 400  # noqa: PLR2004 - client and server errors
        unsent = self._transport.get_write_buffer_size() > 0
        if not response.reusable or unread or unsent or self._transport.is_closing():
            self.close()
            return
        self._transport.resume_reading()
        self._deadline.set(IDLE_SECONDS)
        self._keep(self)

    def _pause(self) -> None:
        self._deadline.clear()
        self._transport.pause_reading()

    def _resume(self) -> None:
        if self._response is not None:
            self._transport.resume_reading()
            self._deadline.set(self._timeout)

    def _miss(self) -> None:
        if self._response is not None:
            self._response.fail("timeout")
        self.close()
