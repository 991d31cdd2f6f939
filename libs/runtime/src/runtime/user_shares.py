"""What all users of a service share, and what a client gets whose user cannot have its share at the moment."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from runtime.problems import ProblemError, retry_after
from runtime.shares import FairShares, ShareExceededError, SharesExhaustedError

RETRY_SECONDS = 1


class UserShares:
    """Places, or bytes, that users take for their requests and give back; a refusal names `policy`."""

    def __init__(
        self,
        policy: str,
        *,
        total: int,
        per_user: int,
        count_refused: Callable[[], object],
        relieve: Callable[[int], object] = lambda _after: None,
    ) -> None:
        """`count_refused` is called for each user that is refused for what it holds itself; `relieve` as `FairShares`.

        Without `relieve` nobody who holds something is idle.
        """
        self._policy = policy
        self._shares = FairShares(total, per_user, relieve)
        self._count_refused = count_refused

    @property
    def taken(self) -> int:
        """How much all users hold."""
        return self._shares.taken

    @property
    def users_waiting(self) -> int:
        """How many users wait."""
        return self._shares.waiting

    async def take(self, user_id: str, amount: int = 1) -> None:
        """Take `amount` for this user, to be given back with `give_back`; waits for it a while.

        Raises:
            ProblemError: `rate_limited`, naming the policy, where the user holds its share or its fair part;
                `overloaded` where it does not and others hold the rest.
        """
        try:
            await self._shares.take(user_id, amount)
        except ShareExceededError:
            self._count_refused()
            raise ProblemError(
                "rate_limited",
                "This user has too much under way; try again shortly.",
                headers=[retry_after(RETRY_SECONDS)],
                violated_policies=[self._policy],
            ) from None
        except SharesExhaustedError:
            detail = "Too much is under way; try again shortly."
            raise ProblemError("overloaded", detail, headers=[retry_after(RETRY_SECONDS)]) from None

    def give_back(self, user_id: str, amount: int = 1) -> None:
        """Give back what `take` brought."""
        if amount:
            self._shares.give_back(user_id, amount)

    @asynccontextmanager
    async def held(self, user_id: str, amount: int = 1) -> AsyncIterator[None]:
        """Take `amount` for the length of a block. Raises as `take`."""
        await self.take(user_id, amount)
        try:
            yield
        finally:
            self.give_back(user_id, amount)
