"""What all users share, so that none of them can take it from the others."""

import asyncio
import contextlib
from collections import deque

WAIT_SECONDS = 1.0
"""How long a request waits for its user's share, at most."""


class ShareExceededError(Exception):
    """The user holds as much as it may while others might need the rest."""


class SharesExhaustedError(Exception):
    """Everything is taken, and the user itself holds little or nothing."""


class FairShares:
    """A number of places, or bytes, of which each user holds a fair part at most.

    A user may hold `share`, and never more than what is left free, so that however many users take all they can there
    is something left for one that comes; the first of a user is granted as long as anything is free (the dynamic
    thresholds of A. K. Choudhury and E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
    Switches", 1998, with a factor of 1). What becomes free goes to the waiting user that holds least; each user's
    requests are served in their order.
    """

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._taken = 0
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[_Waiter]] = {}

    @property
    def taken(self) -> int:
        """How much all users hold."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many users wait."""
        return len(self._waiting)

    @property
    def largest(self) -> tuple[str, int]:
        """Who holds most, and how much; an empty name where nobody holds anything."""
        return max(self._held.items(), key=lambda item: item[1], default=("", 0))

    def held(self, user: str) -> int:
        """How much a user holds."""
        return self._held.get(user, 0)

    async def take(self, user: str, amount: int = 1, seconds: float = WAIT_SECONDS) -> None:
        """Take `amount`, to be given back with `give_back`; waits up to `seconds` where it cannot be had at once.

        Raises:
            ShareExceededError: the user holds some, and its own share did not come free in time.
            SharesExhaustedError: the user holds nothing, and all was taken for that long.
        """
        if user not in self._waiting and self._fits(user, amount):
            self._grant(user, amount)
            return
        waiter = _Waiter(amount, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(user, deque()).append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter.granted
        except TimeoutError:
            if not waiter.is_granted:
                self._leave(user, waiter)
                self._serve()
                raise (ShareExceededError if self.held(user) else SharesExhaustedError) from None
        except BaseException:
            if waiter.is_granted:
                self.give_back(user, amount)
            else:
                self._leave(user, waiter)
                self._serve()
            raise

    def give_back(self, user: str, amount: int = 1) -> None:
        """Give back what `take` granted; the next in the queue may get it."""
        self._taken -= amount
        left = self._held[user] - amount
        if left:
            self._held[user] = left
        else:
            del self._held[user]
        self._serve()

    def _fits(self, user: str, amount: int) -> bool:
        free, held = self._total - self._taken, self.held(user)
        return amount <= free and (not held or held + amount <= min(self._share, free))

    def _grant(self, user: str, amount: int) -> None:
        self._taken += amount
        self._held[user] = self.held(user) + amount

    def _serve(self) -> None:
        """Grant to the user that holds least, of equals to the one that waits longest, while the next request fits."""
        while self._waiting:
            user = min(self._waiting, key=self.held)
            queue = self._waiting[user]
            if not self._fits(user, queue[0].amount):
                return
            waiter = queue[0]
            self._leave(user, waiter)
            if not waiter.granted.cancelled():
                self._grant(user, waiter.amount)
                waiter.granted.set_result(None)
            if queue:
                self._waiting[user] = self._waiting.pop(user)

    def _leave(self, user: str, waiter: "_Waiter") -> None:
        queue = self._waiting.get(user, deque())
        with contextlib.suppress(ValueError):  # it was passed over in the meantime
            queue.remove(waiter)
        if not queue:
            self._waiting.pop(user, None)


class _Waiter:
    __slots__ = ("amount", "granted")

    def __init__(self, amount: int, granted: "asyncio.Future[None]") -> None:
        self.amount = amount
        self.granted = granted

    @property
    def is_granted(self) -> bool:
        return self.granted.done() and not self.granted.cancelled()
