"""Time limits that a stalled process does not hold against its peer.

A timer only says that time has passed. Where this process did not run meanwhile (it was stopped, or one call took
long), what the peer sent in time lies unread in the socket, and the event loop may run the timer first. So a deadline
expires only at its second firing: the first adds back the time by which the timer was late. Where the second is late
too, one more pass over the sockets comes before the third.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable

LEAST_SECONDS = 0.001
"""Between two looks: one pass of the loop over its sockets, whose timers count in milliseconds."""


class Deadline:
    """Calls `on_missed` unless it is moved or cleared in time.

    It has one timer, which moves only where it would come too late: setting it again costs next to nothing.
    """

    __slots__ = ("_due", "_looks", "_loop", "_on_missed", "_seconds", "_timer", "_timer_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_missed: Callable[[], object]) -> None:
        self._loop = loop
        self._on_missed = on_missed
        self._due = math.inf
        self._seconds = 0.0
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def set(self, seconds: float) -> None:
        """Allow this long from now, replacing what was allowed before.

        Where the process stalls until then, what it was late by comes on top: `seconds` once more at most.
        """
        self._due = self._loop.time() + seconds
        self._seconds = seconds
        self._looks = 0
        if self._timer is None or self._timer_at > self._due:
            self._set_timer()

    def clear(self) -> None:
        """Allow any time, until it is set again."""
        self._due = math.inf

    def stop(self) -> None:
        """Clear it, and let go of the timer."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._due
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due == math.inf:
            return
        now = self._loop.time()
        late = now - self._due
        if late < 0:
            self._set_timer()
            return
        self._looks += 1
        if self._looks == 1:
            self._due = now + max(LEAST_SECONDS, min(late, self._seconds))
            self._set_timer()
        elif self._looks == 2 and late > LEAST_SECONDS:  # noqa: PLR2004 - the second
            self._due = now + LEAST_SECONDS
            self._set_timer()
        else:
            self._due = math.inf
            self._on_missed()


@contextlib.asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """`asyncio.timeout`, with a `Deadline`.

    Raises:
        TimeoutError: the block was not done within `seconds`, and was cancelled.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as timeout:
        deadline = Deadline(loop, lambda: timeout.reschedule(loop.time()))
        deadline.set(seconds)
        try:
            yield
        finally:
            deadline.stop()
