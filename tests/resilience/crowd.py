"""Thirty users and their followers, who work, and can be brought to rest and compared."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Self

from tests.resilience.client import Client, Outcome
from tests.resilience.cluster import ZONES, Cluster
from tests.resilience.follower import Follower
from tests.resilience.promises import Breach, Breaches, Promise
from tests.resilience.users import User

USERS = 30
PAUSES = (0.2, 0.6)
"""Seconds between two requests of a user: steady, within the default limits, and no load test."""
FOLLOWER_PAUSES = (0.8, 1.2)
SETTLE_SECONDS = 60
SETTLE_PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Member:
    """A user with its follower; each has connections of its own."""

    user: User
    follower: Follower
    clients: tuple[Client, Client]
    breaches: Breaches

    async def compare(self) -> None:
        """Settle what is pending, read everything, and hold the follower's copy to the user's."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                for step in (self.user.settle, self.user.check, self.follower.step):
                    while not await step():  # noqa: ASYNC110 - a request sent again, as a client does
                        await asyncio.sleep(SETTLE_PAUSE_SECONDS)
        except TimeoutError:
            detail = f"{self.user.model.user} was not served within {SETTLE_SECONDS} s at rest"
            self.breaches.add(Promise.SERVED, detail)
        else:
            self.user.model.check_copy(self.follower.copy)


class Crowd:
    """`outcomes` collects every answer until it is taken."""

    def __init__(self, cluster: Cluster, dice: random.Random) -> None:
        self.outcomes: list[Outcome] = []
        self.members: list[Member] = []
        self._cluster = cluster
        self._dice = dice
        self._numbers = count(1)
        self._resting = asyncio.Event()
        self._connections = contextlib.AsyncExitStack()

    @contextlib.asynccontextmanager
    async def gathered(self, size: int = USERS) -> AsyncIterator[Self]:
        """So many users, at rest, half of them in each zone."""
        async with self._connections:
            self.members = [await self._member(number % len(ZONES)) for number in range(size)]
            yield self

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Everybody works; at the end each waits for the answer that is still to come."""
        self._resting.clear()
        async with asyncio.TaskGroup() as group:
            for member in self.members:
                group.create_task(self._keep_on(member.user.step, PAUSES))
                group.create_task(self._keep_on(member.follower.step, FOLLOWER_PAUSES))
            try:
                yield
            finally:
                self._resting.set()

    async def compare(self) -> list[Breach]:
        """Hold everything to the models, at rest; whoever finds a breach is replaced by a new user."""
        await asyncio.gather(*(member.compare() for member in self.members))
        found: list[Breach] = []
        for number, member in enumerate(self.members):
            if breaches := member.breaches.take():
                found += breaches
                self.members[number] = await self._member(member.clients[0].zone)
        return found

    def take_outcomes(self) -> list[Outcome]:
        """Every answer since the last time."""
        taken, self.outcomes[:] = [*self.outcomes], []
        return taken

    async def _member(self, zone: int) -> Member:
        name = f"user-{next(self._numbers)}"
        token, url, breaches = await self._cluster.token(name), self._cluster.front_url(zone), Breaches()
        one, other = (Client(name, zone, url, token, self.outcomes, breaches) for _ in range(2))
        for client in (one, other):
            await self._connections.enter_async_context(client)
        user = User(one, random.Random(self._dice.random()), breaches)
        return Member(user, Follower(other, breaches), (one, other), breaches)

    async def _keep_on(self, step: Callable[[], Awaitable[object]], pauses: tuple[float, float]) -> None:
        while not self._resting.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._resting.wait(), self._dice.uniform(*pauses))
                return
            await step()
