"""Ends an exchange whose client disconnects before its response is complete."""

import asyncio
from collections.abc import Callable

from strict_http.asgi import Receive

PATIENCE_SECONDS = 0.05
"""Most responses are complete sooner; only for the others is it worth watching the client."""


class ClientDisconnectedError(Exception):
    """The client disconnected before its response was complete."""


class DisconnectWatchers:
    """Watches the clients of exchanges that take long; one timer finds them all."""

    def __init__(self) -> None:
        self._young: set[DisconnectWatcher] = set()
        self._old: set[DisconnectWatcher] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, receive: Receive) -> "DisconnectWatcher":
        """Watch for the task that calls, until `DisconnectWatcher.stop`, from at most twice the patience on."""
        watch = DisconnectWatcher(receive, self._forget)
        self._young.add(watch)
        if self._timer is None:
            self._set_timer()
        return watch

    def _forget(self, watch: "DisconnectWatcher") -> None:
        self._young.discard(watch)
        self._old.discard(watch)

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for watch in self._old:
            watch.start()
        self._old, self._young = self._young, set()
        if self._old:
            self._set_timer()


class DisconnectWatcher:
    """Cancels the task that made it when the client disconnects, so that the upstream does not work for nobody."""

    def __init__(self, receive: Receive, forget: "Callable[[DisconnectWatcher], None]") -> None:
        self._receive = receive
        self._forget = forget
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def start(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        self._forget(self)
        if self._watcher is not None:
            self._watcher.cancel()

    def raise_if_disconnected(self) -> None:
        """Raise if it was this watcher that cancelled the task.

        Raises:
            ClientDisconnectedError: the client disconnected.
        """
        if self._gone and self._task is not None and not self._task.uncancel():
            raise ClientDisconnectedError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()
