"""Plays a scenario: calm, the fault, the time after it; then rest, and every promise is looked at."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.resilience import logbook, usage
from tests.resilience.client import Outcome
from tests.resilience.promises import Breach, Promise
from tests.resilience.scenario import Scenario, Stage

RECOVERY_SECONDS = 5
LONGEST_AFTER_SECONDS = 12
POLL_SECONDS = 0.05
CALM_FACTOR = 5
QUICK_SECONDS = 0.25
"""Untouched users are answered quickly below this, or below so many times the calm p99."""
ENOUGH_ANSWERS = 20
"""For a 99th percentile to say anything."""


@dataclass(frozen=True)
class Pace:
    """Seconds of calm before a fault, of the fault where it is not the scenario's own, and after it.

    `back`: how long memory, descriptors and connections may take to be back where they were.
    """

    calm: float = 1.5
    fault: float | None = None
    after: float = 2
    back: float = usage.RETURN_SECONDS


@dataclass(frozen=True)
class Played:
    """What came of a scenario; times in seconds, `began` and `ended` (of the fault) by `time.monotonic`."""

    scenario: Scenario
    outcomes: Sequence[Outcome]
    began: float
    ended: float
    calm_p99: float
    breaches: Sequence[Breach]
    notes: Sequence[str] = ()
    peak: Mapping[str, int] = field(default_factory=dict)
    """Bytes of memory at most while the fault lasted, by service."""

    @property
    def untouched(self) -> list[Outcome]:
        """Answers that began in the fault or after it, and in which it must not show."""
        return [each for each in self.outcomes if each.ended >= self.began and not self.scenario.touched(each)]

    @property
    def untouched_p99(self) -> float | None:
        """None where there are too few."""
        seconds = [each.seconds for each in self.untouched]
        return p99(seconds) if len(seconds) >= ENOUGH_ANSWERS else None

    @property
    def recovered_after(self) -> float:
        """When the last request failed that was sent after the fault, counted from the fault's end."""
        late = [each.ended for each in self.failures if each.started > self.ended]
        return max(late, default=self.ended) - self.ended

    @property
    def failures(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.failed]


def p99(seconds: Sequence[float]) -> float:
    """The 99th percentile of at least one duration."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


class Conductor:
    """Plays scenarios one after the other; what is calm is learnt over all of them."""

    def __init__(self, stage: Stage, pace: Pace) -> None:
        self._stage = stage
        self._pace = pace
        self._calm: list[float] = []

    async def warm_up(self, seconds: float) -> list[Breach]:
        """Let everybody work in peace, from which is learnt what is calm."""
        crowd = self._stage.crowd
        async with crowd.working():
            await asyncio.sleep(seconds)
        breaches = await crowd.compare()
        self._calm += [each.seconds for each in crowd.take_outcomes()]
        return breaches

    async def play(self, scenario: Scenario) -> Played:
        """The whole scenario."""
        crowd = self._stage.crowd
        before = await usage.measure(self._stage.cluster)
        async with crowd.working():
            await asyncio.sleep(self._pace.calm)
            self._calm += [each.seconds for each in crowd.outcomes]
            began = time.monotonic()
            async with usage.Peak(self._stage.cluster) as peak, scenario.fault(self._stage):
                await asyncio.sleep(self._pace.fault or scenario.seconds)
            ended = time.monotonic()
            await self._served_again(ended)
        breaches = await crowd.compare()
        played = Played(scenario, crowd.take_outcomes(), began, ended, p99(self._calm), breaches)
        found = [
            *breaches,
            *self._stage.breaches.take(),
            *peak.breaches,
            *await usage.not_returned(self._stage.cluster, before, self._pace.back),
            *await asyncio.to_thread(logbook.missing, self._stage.cluster, played.outcomes),
            *judge(played),
        ]
        notes, self._stage.notes[:] = [*self._stage.notes], []
        return replace(played, breaches=found, notes=notes, peak=peak.bytes)

    async def _served_again(self, ended: float) -> None:
        """Wait until each user has had a good answer to a request sent after the fault."""
        crowd = self._stage.crowd
        everybody = {member.user.model.user for member in crowd.members}
        while (now := time.monotonic()) < ended + LONGEST_AFTER_SECONDS:
            served = {each.user for each in crowd.outcomes if each.started > ended and not each.failed}
            if served >= everybody and now > ended + self._pace.after:
                break
            await asyncio.sleep(POLL_SECONDS)


def judge(played: Played) -> list[Breach]:
    """The promises that show in the answers alone."""
    found = [
        Breach(Promise.UNTOUCHED, f"{each.user}: {each.method} {each.route} {each.status} {each.code}")
        for each in played.untouched
        if each.failed
    ]
    limit = max(CALM_FACTOR * played.calm_p99, QUICK_SECONDS)
    if played.untouched_p99 is not None and played.untouched_p99 > limit:
        detail = f"p99 {played.untouched_p99 * 1000:.0f} ms, where {limit * 1000:.0f} ms is quick"
        found.append(Breach(Promise.QUICK, detail))
    if played.recovered_after > RECOVERY_SECONDS:
        detail = f"requests still failed {played.recovered_after:.1f} s after the fault"
        found.append(Breach(Promise.RECOVERED, detail))
    return found
