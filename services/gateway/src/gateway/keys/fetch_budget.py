"""How often strangers may have a provider called."""

from collections import deque
from collections.abc import Callable


class FetchBudget:
    """At most `count` fetches within any `seconds`."""

    def __init__(self, count: int, seconds: float, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since some instant."""
        self._seconds = seconds
        self._clock = clock
        self._taken: deque[float] = deque([-seconds] * count, maxlen=count)

    def take(self) -> bool:
        """Whether one more may be made now; it counts as made."""
        now = self._clock()
        if now - self._taken[0] < self._seconds:
            return False
        self._taken.append(now)
        return True
