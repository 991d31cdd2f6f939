"""What happens when the client leaves before its answer is whole."""

import asyncio

from runtime.asgi import Receive

PATIENCE_SECONDS = 0.05
"""Most answers are there sooner; only for the others is it worth watching the client."""


class ClientGoneError(Exception):
    """The client ended the connection before its exchange was whole."""


class ClientWatch:
    """Cancels the task that made it once the client is gone, so that nothing upstream works for nobody."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._start)

    def stop(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def raise_if_gone(self) -> None:
        """Tell the cancellation of this watch from any other.

        Raises:
            ClientGoneError: it was this one.
        """
        if self._gone and self._task is not None and not self._task.uncancel():
            raise ClientGoneError

    def _start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()
