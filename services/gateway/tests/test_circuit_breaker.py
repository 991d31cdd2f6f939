"""Who waits for Redis, after any history."""

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.circuit_breaker import FAILURES_TO_OPEN, CircuitBreaker, State

type Event = Literal["probe", "failed", "succeeded"]

histories = st.lists(st.sampled_from(["failed", "failed", "failed", "probe", "succeeded"]), max_size=40)


def state_after(history: list[Event]) -> State:
    """The state as the whole history has it, not as it came about step by step."""
    since_success = history[::-1][: history[::-1].index("succeeded")] if "succeeded" in history else history[::-1]
    if since_success.count("failed") < FAILURES_TO_OPEN:
        return State.CLOSED
    return State.HALF_OPEN if since_success[0] == "probe" else State.OPEN


@given(histories)
def test_five_failures_in_a_row_open_it_a_probe_half_and_a_success_closes_it(history: list[Event]) -> None:
    breaker = CircuitBreaker()
    for number, event in enumerate(history, 1):
        getattr(breaker, event)()
        assert breaker.state is state_after(history[:number])
        assert breaker.closed == (breaker.state is State.CLOSED)
