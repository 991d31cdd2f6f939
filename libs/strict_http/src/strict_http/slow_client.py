"""Ends connections whose client sends its body, or reads its response, more slowly than 1 KiB/s."""

import asyncio

from strict_http.deadline import Deadline

CHECK_SECONDS = 10.0
"""How often the client's progress is checked."""

MIN_BYTES = 10 * 1024
"""How much of its body a client must have sent, or taken of what waits for it, between two checks."""

BODY_CHECKS = 3
"""At the last of them the whole body must be there."""


class UploadPace:
    """Judges how fast one body comes, each `CHECK_SECONDS` from the end of its headers on."""

    def __init__(self) -> None:
        self._checks = 0
        self._received = 0

    def goes_on(self, received: int, *, held_back: bool) -> bool:
        """Whether the client may have more time.

        Args:
            received: bytes of the body so far.
            held_back: the client is not read from, and so cannot make progress.
        """
        self._checks += 1
        progress, self._received = received - self._received, received
        return self._checks < BODY_CHECKS and (held_back or progress >= MIN_BYTES)


class SlowClientGuard:
    """Aborts a connection whose client makes no progress: it would keep its place and its buffer for ever.

    TCP itself waits without limit for a client that is alive and does not read, even after a close.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._deadline = Deadline(loop, self._check)
        self._checking = False
        self._unread = 0
        self._progressed = False

    def start(self) -> None:
        """Check for as long as something is unread."""
        if not self._checking:
            self._checking = True
            self._unread = 0
            self._deadline.set(CHECK_SECONDS)

    def note_progress(self) -> None:
        """The client has taken enough for more to be written."""
        self._progressed = True

    def stop(self) -> None:
        self._checking = False
        self._deadline.stop()

    def _check(self) -> None:
        unread = self._transport.get_write_buffer_size()
        if not unread:
            self._checking = False
            return
        if self._unread and not self._progressed and unread > self._unread - MIN_BYTES:
            self._transport.abort()
            return
        self._unread, self._progressed = unread, False
        self._deadline.set(CHECK_SECONDS)
