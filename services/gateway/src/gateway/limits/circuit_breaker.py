"""Whether Redis is worth waiting for.

    closed     requests wait for Redis; five failures in a row, and the breaker is open
    open       no request waits; the next probe makes the breaker half-open
    half-open  the probe waits, and no request; its success closes the breaker, its failure opens it again

A success closes the breaker in any state: an answer to an earlier request says as much as one to a probe.
"""

from enum import Enum, auto

FAILURES_TO_OPEN = 5


class State(Enum):
    """Who waits for Redis: every request, nobody, a probe."""

    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


class CircuitBreaker:
    """Counts failures in a row."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self.failures = 0

    @property
    def closed(self) -> bool:
        return self.state is State.CLOSED

    def probe(self) -> None:
        """A probe begins; a closed breaker does not care."""
        if self.state is State.OPEN:
            self.state = State.HALF_OPEN

    def succeeded(self) -> None:
        self.state = State.CLOSED
        self.failures = 0

    def failed(self) -> None:
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self.state = State.OPEN
