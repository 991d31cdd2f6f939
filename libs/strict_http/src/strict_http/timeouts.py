"""How long a connection waits for its client."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from strict_http.deadline import Deadline
from strict_http.slow_client import CHECK_SECONDS

HEAD_SECONDS = 10.0
"""From the first byte of a request, or from the start of the connection, to the end of the headers."""

LINGER_SECONDS = 2.0
"""How long a client that is still sending may take to read the response (RFC 9112 section 9.6)."""

LAST_REQUEST_SECONDS = 1.0
"""How long an idle connection stays open once the server stops: a request may already be on its way."""


class Wait(Enum):
    """What a connection is waiting for."""

    NOTHING = auto()
    REQUEST = auto()
    LAST_REQUEST = auto()
    HEAD = auto()
    BODY = auto()
    CLOSE = auto()


class Timeouts:
    """The deadline of one connection.

    Args:
        loop: runs the timer.
        idle_seconds: how long a connection may stay without a request.
        on_timeout: called with what did not arrive in time.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, idle_seconds: float, on_timeout: Callable[[Wait], None]
    ) -> None:
        self._idle_seconds = idle_seconds
        self._on_timeout = on_timeout
        self._awaited = Wait.NOTHING
        self._deadline = Deadline(loop, self._on_missed)

    def wait_for(self, what: Wait) -> None:
        """Start the time for `what`; if it is running already, it goes on."""
        if what is self._awaited:
            return
        self._awaited = what
        if what is Wait.NOTHING:
            self._deadline.clear()
        else:
            self._deadline.set(self._seconds(what))

    def stop(self) -> None:
        """Cancel the timer; the connection is closed."""
        self._awaited = Wait.NOTHING
        self._deadline.stop()

    def _on_missed(self) -> None:
        missed, self._awaited = self._awaited, Wait.NOTHING
        self._on_timeout(missed)

    def _seconds(self, what: Wait) -> float:
        if what is Wait.REQUEST:
            return self._idle_seconds
        if what is Wait.HEAD:
            return HEAD_SECONDS
        if what is Wait.BODY:
            return CHECK_SECONDS
        return LAST_REQUEST_SECONDS if what is Wait.LAST_REQUEST else LINGER_SECONDS
