"""How long a connection is waited for."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

HEAD_SECONDS = 10.0
"""From the first byte of a request to the end of its headers."""

BODY_SECONDS = 30.0
"""From there to the end of its body."""

LINGER_SECONDS = 2.0
"""How long a client that is still sending may take to read the answer (RFC 9112 section 9.6)."""


class Wait(Enum):
    """What a connection is waited for."""

    NOTHING = auto()
    REQUEST = auto()
    HEAD = auto()
    BODY = auto()
    CLOSE = auto()


class Clock:
    """One timer for a connection; calls `on_time` with what did not come.

    Args:
        loop: runs the timer.
        idle_seconds: how long a connection may stay without a request.
        on_time: called once, when the time for what is waited for is over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_seconds: float, on_time: Callable[[Wait], object]) -> None:
        self._loop = loop
        self._idle_seconds = idle_seconds
        self._on_time = on_time
        self._waits_for = Wait.NOTHING
        self._timer: asyncio.TimerHandle | None = None

    def wait_for(self, what: Wait) -> None:
        """Start the time for `what`; one that runs for the same already runs on."""
        if what is self._waits_for:
            return
        self._waits_for = what
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if what is not Wait.NOTHING:
            self._timer = self._loop.call_later(self._seconds(what), self._on_time, what)

    def _seconds(self, what: Wait) -> float:
        match what:
            case Wait.HEAD:
                return HEAD_SECONDS
            case Wait.BODY:
                return BODY_SECONDS
            case Wait.CLOSE:
                return LINGER_SECONDS
            case _:
                return self._idle_seconds
