"""Long work ends when nobody waits for its response any more."""

import asyncio
from collections.abc import Coroutine

from strict_http.asgi import Receive
from todos.database.failures import overloaded

MAX_SECONDS = 60
"""Of long work, where the connection of a caller that is not there any more stays open."""


class ClientLeftError(Exception):
    """There is nobody to respond to."""


async def while_connected[Result](receive: Receive, work: Coroutine[None, None, Result]) -> Result:
    """Run `work` to its end, or cancel it when its client leaves or its time is over.

    Args:
        receive: of a request whose body was read to its end.
        work: has undone everything, or nothing, once it is cancelled.

    Raises:
        ClientLeftError: the client closed the connection.
        ProblemError: `overloaded`, after `MAX_SECONDS`.
    """
    running, leaving = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((running, leaving), timeout=MAX_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        raise ClientLeftError if leaving.done() else overloaded()
    finally:
        running.cancel()
        leaving.cancel()
        await asyncio.gather(running, leaving, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
