"""Exchanges that hold something shared while they wait for their clients; for others' sake the idle ones end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

IDLE_SECONDS = 1.0
"""How long a client may let its exchange wait while others lack what it holds."""


class ClientIdleError(Exception):
    """The client let its exchange wait while others lacked what it holds."""


class ClientWaits:
    """Who waits for its client, and since when."""

    def __init__(self) -> None:
        self._waits: dict[asyncio.Timeout, tuple[str, float]] = {}
        """The user and the start, in the order of the starts."""

    @asynccontextmanager
    async def wait(self, user_id: str) -> AsyncIterator[None]:
        """For the length of a block that waits for a client of this user.

        Raises:
            ClientIdleError: `end_idle` chose it.
        """
        try:
            async with asyncio.timeout(None) as timeout:
                self._waits[timeout] = user_id, asyncio.get_running_loop().time()
                try:
                    yield
                finally:
                    self._waits.pop(timeout, None)
        except TimeoutError:
            raise ClientIdleError from None

    def end_idle(self, held: Callable[[str], int], at_least: int) -> bool:
        """End the longest idle wait of the user that holds most, if it holds `at_least` so much; whether one was."""
        now = asyncio.get_running_loop().time()
        chosen, most = None, at_least - 1
        for timeout, (user_id, since) in self._waits.items():
            if now - since < IDLE_SECONDS:
                break
            if held(user_id) > most:
                chosen, most = timeout, held(user_id)
        if chosen is None:
            return False
        del self._waits[chosen]
        chosen.reschedule(now)
        return True
