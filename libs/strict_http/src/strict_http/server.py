"""uvicorn's server around `StrictProtocol`, with an end that loses no connection."""

import asyncio
import contextlib
import socket
from collections.abc import Generator, Iterator
from typing import override

from uvicorn import Server

from strict_http.asgi import App
from strict_http.errors import ErrorResponses
from strict_http.protocol import StrictConfig, StrictProtocol


class StrictServer(Server):
    """A server whose `serve(sockets=[…])` runs until `should_exit` is set."""

    config: StrictConfig

    def __init__(self, app: App, errors: ErrorResponses, *, keepalive_seconds: int, graceful_seconds: int) -> None:
        """Serve an ASGI 3 application.

        Args:
            app: the application.
            errors: responds to what reaches no application.
            keepalive_seconds: how long a connection may stay without a request.
            graceful_seconds: how long requests under way may still take once `should_exit` is set.
        """
        super().__init__(
            StrictConfig(app, errors, keepalive_seconds=keepalive_seconds, graceful_seconds=graceful_seconds)
        )

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn would close the listener at once; when to stop is for the caller to decide
        yield

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # a connection that is not accepted yet would be reset when the listener closes
        waiting = [connection for listener in sockets or [] for connection in _accept_all(listener)]
        for listener in sockets or []:
            listener.close()
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        await super().shutdown(sockets)

    def _protocol(self) -> StrictProtocol:
        return StrictProtocol(self.config, self.server_state, {})


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    listener.setblocking(False)  # noqa: FBT003 - the socket's own signature
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)  # noqa: FBT003
            yield connection
