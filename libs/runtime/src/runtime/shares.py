"""What all users share, so that none of them can take it from the others."""

import asyncio
from collections import deque
from collections.abc import Callable

WAIT_SECONDS = 1.0
"""How long a request waits for its user's share, at most."""
PATIENCE = 5
"""How many times as long it waits where its user is within its fair part: then it is others who take too much."""
RELIEF_SECONDS = 0.25
"""How often `relieve` is called while such a user waits."""


class ShareExceededError(Exception):
    """The user holds its share, or its fair part while others need the rest."""


class SharesExhaustedError(Exception):
    """Everything is taken, and the user is within its fair part."""


class FairShares:
    """A number of places, or bytes, of which each user holds a fair part at most.

    A user may hold `share`, and never more than what is left free, so that however many users take all they can there
    is something left for one that comes (the dynamic thresholds of A. K. Choudhury and E. L. Hahne, "Dynamic Queue
    Length Thresholds for Shared-Memory Packet Switches", 1998, with a factor of 1). Its fair part, which is what each
    would hold if all that hold something and one more held the same, is granted as long as it is free, and the first
    of a user too. What becomes free goes to the waiting user that would hold least with it (max-min fairness); each
    user's requests are served in their order.
    """

    def __init__(self, total: int, share: int, relieve: Callable[[int], object]) -> None:
        """Share `total`, of which a user may hold `share`.

        While a user within its fair part waits for room, `relieve` is called again and again with what that user would
        hold. It ends what others who hold at least as much leave idle.
        """
        self._total = total
        self._share = share
        self._relieve = relieve
        self._taken = 0
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[_Waiter]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How much all users hold."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many users wait."""
        return len(self._waiting)

    @property
    def at_share(self) -> int:
        """How many users hold their share, or wait because they would hold more than they may."""
        full = {user for user, held in self._held.items() if held >= self._share}
        return len(full | {user for user, queue in self._waiting.items() if not self._is_fair(user, queue[0].amount)})

    def held(self, user: str) -> int:
        """How much a user holds."""
        return self._held.get(user, 0)

    async def take(self, user: str, amount: int = 1, seconds: float = WAIT_SECONDS) -> None:
        """Take `amount`, to be given back with `give_back`; waits where it cannot be had at once.

        Args:
            user: who holds it.
            amount: at most `share`.
            seconds: how long to wait for this user's share; within its fair part it waits `PATIENCE` times as long.

        Raises:
            ShareExceededError: with it the user would hold more than its share or its fair part.
            SharesExhaustedError: it would not, and others hold the rest.
        """
        if user not in self._waiting and self._fits(user, amount):
            self._grant(user, amount)
            return
        waiter = _Waiter(amount, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(user, deque()).append(waiter)
        self._serve()
        try:
            await asyncio.wait([waiter.granted], timeout=seconds)
            if not waiter.is_granted and self._is_fair(user, amount):
                await asyncio.wait([waiter.granted], timeout=seconds * (PATIENCE - 1))
        except BaseException:
            if waiter.is_granted:
                self.give_back(user, amount)
            else:
                self._leave(user, waiter)
                self._serve()
            raise
        if not waiter.is_granted:
            self._leave(user, waiter)
            self._serve()
            raise SharesExhaustedError if self._is_fair(user, amount) else ShareExceededError

    def give_back(self, user: str, amount: int = 1) -> None:
        """Give back what `take` brought, to whoever waits."""
        self._taken -= amount
        left = self._held[user] - amount
        if left:
            self._held[user] = left
        else:
            del self._held[user]
        self._serve()

    def _fits(self, user: str, amount: int) -> bool:
        free = self._total - self._taken
        return amount <= free and (self._is_fair(user, amount) or self.held(user) + amount <= min(self._share, free))

    def _is_fair(self, user: str, amount: int) -> bool:
        held = self.held(user)
        return not held or held + amount <= min(self._share, self._total // (len(self._held) + 1))

    def _grant(self, user: str, amount: int) -> None:
        self._taken += amount
        self._held[user] = self.held(user) + amount

    def _serve(self) -> None:
        """Grant to whoever would hold least, of equals to the one that waits longest, while that fits."""
        while user := self._next():
            queue = self._waiting[user]
            waiter = queue[0]
            if waiter.amount > self._total - self._taken:
                self._ask_for_relief(self.held(user) + waiter.amount)
                return
            self._leave(user, waiter)
            self._grant(user, waiter.amount)
            waiter.granted.set_result(None)
            if queue:
                self._waiting[user] = self._waiting.pop(user)

    def _next(self) -> str | None:
        """Of the users whose next request is for what they may hold, the one that would hold least."""
        chosen, least = None, self._total + 1
        for user, queue in self._waiting.items():
            amount = queue[0].amount
            after = self.held(user) + amount
            if after < least and (self._is_fair(user, amount) or self._fits(user, amount)):
                chosen, least = user, after
        return chosen

    def _ask_for_relief(self, after: int) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RELIEF_SECONDS, self._look)
        self._relieve(after)

    def _look(self) -> None:
        self._timer = None
        self._serve()

    def _leave(self, user: str, waiter: "_Waiter") -> None:
        queue = self._waiting[user]
        queue.remove(waiter)
        if not queue:
            del self._waiting[user]


class _Waiter:
    __slots__ = ("amount", "granted")

    def __init__(self, amount: int, granted: "asyncio.Future[None]") -> None:
        self.amount = amount
        self.granted = granted

    @property
    def is_granted(self) -> bool:
        return self.granted.done()
