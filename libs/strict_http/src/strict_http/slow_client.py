"""Ends connections whose client does not read its response."""

import asyncio

CHECK_SECONDS = 30.0
"""How often the client's progress is checked."""

MIN_BYTES = 32 * 1024
"""How much of what waits for it a client must have taken between two checks."""


class SlowClientGuard:
    """Aborts a connection whose client makes no progress: it would keep its place and its buffer for ever.

    TCP itself waits without limit for a client that is alive and does not read, even after a close.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self._progressed = False

    def start(self) -> None:
        """Check for as long as something is unread."""
        if self._timer is None:
            self._unread = 0
            self._timer = self._loop.call_later(CHECK_SECONDS, self._check)

    def note_progress(self) -> None:
        """The client has taken enough for more to be written."""
        self._progressed = True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        unread = self._transport.get_write_buffer_size()
        if not unread:
            return
        if self._unread and not self._progressed and unread > self._unread - MIN_BYTES:
            self._transport.abort()
            return
        self._unread, self._progressed = unread, False
        self._timer = self._loop.call_later(CHECK_SECONDS, self._check)
