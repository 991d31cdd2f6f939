"""One response of the upstream, as the parser reads it (RFC 9112 sections 4 to 7)."""

import asyncio
from collections.abc import Callable

import httptools

from gateway.upstream_errors import Reason, UpstreamError

BUFFERED_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_STATUSES = range(100, 600)
"""RFC 9110 section 15."""


class UpstreamResponse:
    """Status, headers (names in lower case) and body of one response.

    `head` is done when `status` and `headers` are known, or raises `UpstreamError` if no response began.
    `complete` is set after the last byte; then `reusable` says whether the connection may carry another request,
    which any further byte rules out.
    """

    def __init__(
        self, *, bodiless: bool, pause: Callable[[], None], resume: Callable[[], None], close: Callable[[], None]
    ) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.reusable = False
        self._bodiless = bodiless
        self._pause = pause
        self._resume = resume
        self._close = close
        self._parser = httptools.HttpResponseParser(self)
        self.head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._answered = False
        self._until_close = False
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._arrived: asyncio.Future[None] | None = None
        self._error: UpstreamError | None = None

    async def arrived(self) -> None:
        """Wait for the next part of the body, or for its end.

        Raises:
            UpstreamError: the connection broke or stalled before that.
        """
        while not self._chunks and not self.complete:
            if self._error is not None:
                raise self._error
            if self._paused:
                self._paused = False
                self._resume()
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None

    async def read(self) -> tuple[bytes, bool]:
        """The next part of the body, and whether it is the last one; waits and raises as `arrived` does."""
        await self.arrived()
        chunks, self._chunks, self._buffered = self._chunks, [], 0
        return b"".join(chunks), self.complete

    def abandon(self) -> None:
        """Nobody reads on: close the connection, unless the response is complete."""
        if not self.complete:
            self._close()

    def feed(self, data: bytes) -> None:
        """Parse what arrived; an error of the parser fails the response."""
        self._answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reusable = False
            if not self.complete:
                self.fail("garbage")
        if self._head_bytes > MAX_HEAD_BYTES:
            self.fail("garbage")
        if self.complete or self.failed:
            # the parser refers back to this object: without the cycle both are freed at once
            del self._parser

    def end(self, *, orderly: bool) -> None:
        """The connection ended: the end of a body without a length (RFC 9112 section 6.3), otherwise too early."""
        if orderly and self._until_close and self._error is None:
            self._finish(reusable=False)
        elif not self.complete:
            self.fail("broken")

    def fail(self, reason: Reason) -> None:
        if self._error is None and not self.complete:
            self._error = UpstreamError(reason, written=True, answered=self._answered)
            if not self.head.done():
                self.head.set_exception(self._error)
            self._wake()

    @property
    def failed(self) -> bool:
        return self._error is not None

    # called by the parser

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.head.done():
            return
        status = self._parser.get_status_code()
        if status not in _STATUSES or self._head_bytes > MAX_HEAD_BYTES:
            self.fail("garbage")
            return
        # later fields are trailers, which nobody reads
        fields, self._fields = self._fields, []
        if status < 200:  # noqa: PLR2004 - informational, RFC 9110 section 15.2
            return
        self.status, self.headers = status, fields
        self._until_close = _FRAMING.isdisjoint(dict(fields))
        self.head.set_result(None)
        if self._bodiless:
            self._finish(reusable=self._parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self.reusable = False
        if self.complete or self.failed:
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFERED_BYTES and not self._paused:
            self._paused = True
            self._pause()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status and not self.complete and not self.failed:
            self._finish(reusable=self._parser.should_keep_alive())

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _finish(self, *, reusable: bool) -> None:
        self.complete = True
        self.reusable = reusable
        self._wake()
