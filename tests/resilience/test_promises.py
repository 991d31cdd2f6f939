"""What the answers alone show of the promises."""

import contextlib

from tests.resilience.client import Outcome
from tests.resilience.conductor import Played, judge
from tests.resilience.promises import Promise
from tests.resilience.scenario import Scenario, nobody

AT_1, AT_2 = 1000.0, 1002.0


def answered(*, started: float = AT_1, seconds: float = 0.01, status: int = 200) -> Outcome:
    return Outcome("user-1", 0, "GET", "/v1/todos", started, seconds, status, "", "")


def judged(*outcomes: Outcome) -> set[Promise]:
    """What a fault from `AT_1` to `AT_2` that touches nobody has broken, where the calm p99 is 100 ms."""
    scenario = Scenario("made up", "nothing", nobody, lambda _stage: contextlib.nullcontext())
    return {breach.promise for breach in judge(Played(scenario, outcomes, AT_1, AT_2, 0.1, []))}


def test_slow_answers_to_the_untouched_are_found() -> None:
    assert judged(*[answered(seconds=0.45)] * 100) == set()
    assert judged(*[answered(seconds=0.55)] * 100) == {Promise.QUICK}
    assert judged(*[answered()] * 99, answered(seconds=0.55)) == {Promise.QUICK}
    assert judged(*[answered()] * 99, answered(started=AT_1 - 1, seconds=0.9)) == set()


def test_failures_long_after_the_fault_are_found() -> None:
    untouched = {Promise.UNTOUCHED}
    assert judged(answered(started=AT_2 + 1, seconds=3.9, status=503)) == untouched
    assert judged(answered(started=AT_2 + 1, seconds=4.1, status=503)) == {*untouched, Promise.RECOVERED}
    assert judged(answered(started=AT_2 - 1, seconds=7, status=504)) == untouched
