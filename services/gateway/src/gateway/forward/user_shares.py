"""What all users share at the gateway, of which each holds a fair part at most."""

from contextlib import AbstractAsyncContextManager
from typing import Literal

from gateway.forward.client_waits import ClientWaits
from gateway.metrics import Metrics
from runtime.share_refusals import refusing
from runtime.shares import FairShares

type SharePolicy = Literal["user-requests", "user-buffer"]

_SHARE_DIVISOR = 8


def share_of(total: int, per_user: int | None) -> int:
    """How much of `total` a user may hold: `per_user`, or an eighth where it is None."""
    return per_user or max(1, total // _SHARE_DIVISOR)


class UserShares:
    """Places, or bytes, that users take and give back; counts who is refused under `policy`."""

    def __init__(self, policy: SharePolicy, total: int, per_user: int | None, metrics: Metrics) -> None:
        """`per_user` as `share_of` takes it."""
        self._policy: SharePolicy = policy
        self._shares = FairShares(total, share_of(total, per_user), self._relieve)
        self._clients = ClientWaits()
        metrics.users_at_share.labels(policy).set_function(lambda: self._shares.at_share)
        metrics.users_waiting.labels(policy).set_function(lambda: self._shares.waiting)
        self._refusals = metrics.share_refusals.labels(policy)
        self._ended = metrics.idle_clients_ended.labels(policy)

    @property
    def taken(self) -> int:
        """How much all users hold."""
        return self._shares.taken

    async def take(self, user_id: str, amount: int) -> None:
        """Take `amount` for this user, to be given back with `give_back`; waits for it a while.

        Raises:
            ProblemError: `rate_limited` where the user holds its share or its fair part, `overloaded` where it does
                not and others hold the rest.
        """
        with refusing(self._policy, self._refusals.inc):
            await self._shares.take(user_id, amount)

    def give_back(self, user_id: str, amount: int) -> None:
        """Give back what `take` brought."""
        if amount:
            self._shares.give_back(user_id, amount)

    def wait_for_client(self, user_id: str) -> AbstractAsyncContextManager[None]:
        """Surrounds what waits for a client of this user, which holds something meanwhile.

        Raises:
            ClientIdleError: the client kept it waiting while others lacked what the user holds.
        """
        return self._clients.wait(user_id)

    def _relieve(self, after: int) -> None:
        if self._clients.end_idle(self._shares.held, after):
            self._ended.inc()
