"""How long a connection waits for its client."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

HEAD_SECONDS = 10.0
"""From the first byte of a request, or from the start of the connection, to the end of the headers."""

BODY_SECONDS = 30.0
"""From the end of the headers to the end of the body."""

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
    """One timer for each connection; it is moved only where it would fire too late, which saves most of its cost.

    Args:
        loop: runs the timer.
        idle_seconds: how long a connection may stay without a request.
        on_timeout: called with what did not arrive in time.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, idle_seconds: float, on_timeout: Callable[[Wait], None]
    ) -> None:
        self._loop = loop
        self._idle_seconds = idle_seconds
        self._on_timeout = on_timeout
        self._awaited = Wait.NOTHING
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def wait_for(self, what: Wait) -> None:
        """Start the time for `what`; if it is running already, it goes on."""
        if what is self._awaited:
            return
        self._awaited = what
        if what is not Wait.NOTHING:
            self._deadline = self._loop.time() + self._seconds(what)
            if self._timer is None or self._timer_at > self._deadline:
                self._set_timer()

    def stop(self) -> None:
        """Cancel the timer; the connection is closed."""
        self._awaited = Wait.NOTHING
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._awaited is Wait.NOTHING:
            return
        if self._loop.time() < self._deadline:
            self._set_timer()
            return
        missed, self._awaited = self._awaited, Wait.NOTHING
        self._on_timeout(missed)

    def _seconds(self, what: Wait) -> float:
        if what is Wait.REQUEST:
            return self._idle_seconds
        if what is Wait.HEAD:
            return HEAD_SECONDS
        if what is Wait.BODY:
            return BODY_SECONDS
        return LAST_REQUEST_SECONDS if what is Wait.LAST_REQUEST else LINGER_SECONDS
