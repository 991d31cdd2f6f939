"""What a user's long requests share with those of all others."""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from runtime.share_refusals import refusing
from runtime.shares import FairShares
from runtime.slices import Slices
from todos.metrics import Metrics

IMPORTS_PER_USER = 1
EXPORTS_PER_USER = 2
EXPORTS = 64
"""At once; each holds a hundred todos."""


class UserPlaces:
    """Places that users take for their requests; who is refused is counted under `policy`."""

    def __init__(self, policy: str, *, total: int, per_user: int, metrics: Metrics) -> None:
        self._policy = policy
        self._shares = FairShares(total, per_user, _nothing_is_idle)
        self._count = functools.partial(metrics.count_share_refused, policy)

    @asynccontextmanager
    async def held(self, user_id: str) -> AsyncIterator[None]:
        """A place for this user, for which it waits a while.

        Raises:
            ProblemError: `rate_limited` where the user holds its places, `overloaded` where others hold all.
        """
        with refusing(self._policy, self._count):
            await self._shares.take(user_id)
        try:
            yield
        finally:
            self._shares.give_back(user_id)


def _nothing_is_idle(_after: int) -> None:
    """Whoever holds a place is served as fast as can be."""


@dataclass(frozen=True, slots=True)
class LongWork:
    """The places of imports and exports, and the turns of what takes the event loop's time."""

    slices: Slices
    imports: UserPlaces
    exports: UserPlaces


def long_work(pool_size: int, metrics: Metrics) -> LongWork:
    """Imports, each of which holds a connection to its end, take a third of the pool at most."""
    imports = UserPlaces("user-imports", total=max(1, pool_size // 3), per_user=IMPORTS_PER_USER, metrics=metrics)
    exports = UserPlaces("user-exports", total=EXPORTS, per_user=EXPORTS_PER_USER, metrics=metrics)
    return LongWork(Slices(), imports, exports)
