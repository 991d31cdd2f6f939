"""What all users share at this service, of which each holds a part at most."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.share_refusals import refusing
from runtime.shares import FairShares
from todos.metrics import Metrics


class UserShares:
    """Places, or bytes, that users take for their requests; who is refused is counted under `policy`."""

    def __init__(self, policy: str, *, total: int, per_user: int, metrics: Metrics) -> None:
        self._policy = policy
        self._shares = FairShares(total, per_user, _nothing_is_idle)
        self._count = functools.partial(metrics.count_share_refused, policy)

    @property
    def taken(self) -> int:
        """How much all users hold."""
        return self._shares.taken

    @asynccontextmanager
    async def held(self, user_id: str, amount: int = 1) -> AsyncIterator[None]:
        """Take `amount` for this user and give it back at the end; waits for it a while.

        Raises:
            ProblemError: `rate_limited` where the user holds its share, `overloaded` where others hold the rest.
        """
        with refusing(self._policy, self._count):
            await self._shares.take(user_id, amount)
        try:
            yield
        finally:
            self._shares.give_back(user_id, amount)


def _nothing_is_idle(_after: int) -> None:
    """Whoever holds something is served as fast as can be."""
