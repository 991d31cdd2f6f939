"""What all users share at the gateway, of which each holds a fair part at most."""

from contextlib import AbstractAsyncContextManager
from typing import Literal

from gateway.forward.client_waits import ClientWaits
from gateway.metrics import Metrics
from runtime.user_shares import UserShares

type SharePolicy = Literal["user-requests", "user-buffer"]

_SHARE_DIVISOR = 8


def share_of(total: int, per_user: int | None) -> int:
    """How much of `total` a user may hold: `per_user`, or an eighth where it is None."""
    return per_user or max(1, total // _SHARE_DIVISOR)


class ClientShares(UserShares):
    """Shares that users hold while they wait for their clients, of whom idle ones end for others' sake."""

    def __init__(self, policy: SharePolicy, total: int, per_user: int | None, metrics: Metrics) -> None:
        """`per_user` as `share_of` takes it."""
        super().__init__(
            policy,
            total=total,
            per_user=share_of(total, per_user),
            count_refused=metrics.share_refusals.labels(policy).inc,
            relieve=self._relieve,
        )
        self._clients = ClientWaits()
        metrics.users_at_share.labels(policy).set_function(lambda: self._shares.at_share)
        metrics.users_waiting.labels(policy).set_function(lambda: self.users_waiting)
        self._ended = metrics.idle_clients_ended.labels(policy)

    def wait_for_client(self, user_id: str) -> AbstractAsyncContextManager[None]:
        """Surrounds what waits for a client of this user, which holds something meanwhile.

        Raises:
            ClientIdleError: the client kept it waiting while others lacked what the user holds.
        """
        return self._clients.wait(user_id)

    def _relieve(self, after: int) -> None:
        if self._clients.end_idle(self._shares.held, after):
            self._ended.inc()
