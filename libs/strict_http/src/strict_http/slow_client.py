"""How long a client may leave an answer unread."""

import asyncio

READ_SECONDS = 30.0
"""How often it is looked whether the client reads on."""

LEAST_BYTES = 32 * 1024
"""What it must have taken by then, of what waits for it."""


class ReaderWatch:
    """Cuts off a client that does not take its answer: it would hold its place and the buffer for ever.

    TCP itself waits without end for a client that lives and does not read, behind a close too.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = 0
        self._read_on = False

    def start(self) -> None:
        """Watch for as long as there is something unread."""
        if self._timer is None:
            self._waiting = 0
            self._timer = self._loop.call_later(READ_SECONDS, self._look)

    def read_on(self) -> None:
        """The client has taken enough for more to be written."""
        self._read_on = True

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        unread = self._transport.get_write_buffer_size()
        if not unread:
            return
        if self._waiting and not self._read_on and unread > self._waiting - LEAST_BYTES:
            self._transport.abort()
            return
        self._waiting, self._read_on = unread, False
        self._timer = self._loop.call_later(READ_SECONDS, self._look)
