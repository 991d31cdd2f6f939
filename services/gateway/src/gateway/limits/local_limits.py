"""The limits of this process alone."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from cachetools import LRUCache

from gateway.limits import gcra
from gateway.limits.gcra import Verdict
from gateway.limits.policy import Policy

REMEMBERED_KEYS = 65536


class LocalLimits:
    """The same arithmetic in memory, each limit divided by the number of replicas."""

    def __init__(self, replicas: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._replicas = replicas
        self._clock = clock
        self._arrivals: LRUCache[tuple[str, str], int] = LRUCache(REMEMBERED_KEYS)

    def check(self, subject: str, policies: Sequence[Policy]) -> list[Verdict]:
        """Check every policy for `subject` and charge all of them or none."""
        now = int(self._clock() * gcra.MICROSECONDS)
        checked = []
        for policy in policies:
            arrival = self._arrivals.get((policy.name, subject), 0)
            checked.append(gcra.evaluate(self._share(policy), arrival, now))
        if all(verdict.allowed for verdict, _ in checked):
            for policy, (_, arrival) in zip(policies, checked, strict=True):
                self._arrivals[policy.name, subject] = arrival
        return [verdict for verdict, _ in checked]

    def _share(self, policy: Policy) -> Policy:
        if self._replicas == 1:
            return policy
        return replace(policy, limit=max(1, policy.limit // self._replicas))
