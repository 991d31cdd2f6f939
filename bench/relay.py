"""A relay before a server that counts round trips and makes the way longer."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import override
from urllib.parse import urlsplit, urlunsplit

from devtools.processes import LOOPBACK


@dataclass
class Relay:
    """`turns` grows whenever a client speaks after the server, or first; `delay` is seconds each way."""

    url: str = ""
    turns: int = 0
    delay: float = 0
    transports: set[asyncio.Transport] = field(default_factory=set)


@contextlib.contextmanager
def relay(server_url: str) -> Iterator[Relay]:
    """Relay to the server of `server_url`, in a thread; `Relay.url` goes through it."""
    state = Relay()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay", daemon=True)
    thread.start()
    try:
        listening = asyncio.run_coroutine_threadsafe(_listen(state, server_url), loop).result()
        yield state
        asyncio.run_coroutine_threadsafe(_close(state, listening), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _listen(state: Relay, server_url: str) -> asyncio.Server:
    parts = urlsplit(server_url)
    host, port = parts.hostname or LOOPBACK, parts.port or 0
    listening = await asyncio.get_running_loop().create_server(lambda: _Client(state, host, port), LOOPBACK, 0)
    relay_port = listening.sockets[0].getsockname()[1]
    credentials = parts.netloc.rpartition("@")[0]
    state.url = urlunsplit(parts._replace(netloc=f"{credentials}@{LOOPBACK}:{relay_port}"))
    return listening


async def _close(state: Relay, listening: asyncio.Server) -> None:
    listening.close()
    for transport in state.transports:
        transport.abort()
    await asyncio.sleep(0)


class _End(asyncio.Protocol):
    """One end of a relayed connection: hands what it reads to the other, in order and late."""

    def __init__(self, state: Relay) -> None:
        self.state = state
        self.transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is TCP
        self.transport = transport
        self.state.transports.add(transport)
        for data in self._waiting:
            transport.write(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        assert self.transport  # noqa: S101 - it was made
        self.state.transports.discard(self.transport)

    def send(self, data: bytes) -> None:
        if self.state.delay:
            asyncio.get_running_loop().call_later(self.state.delay, self._write, data)
        else:
            self._write(data)

    def abort(self) -> None:
        if self.transport:
            self.transport.abort()

    def _write(self, data: bytes) -> None:
        if self.transport:
            self.transport.write(data)
        else:
            self._waiting.append(data)


class _Client(_End):
    def __init__(self, state: Relay, host: str, port: int) -> None:
        super().__init__(state)
        self.server_spoke = True
        self._server = _Server(state, self)
        self._address = host, port
        self._opening: asyncio.Task[object] | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._opening = loop.create_task(loop.create_connection(lambda: self._server, *self._address))

    @override
    def data_received(self, data: bytes) -> None:
        if self.server_spoke:
            self.server_spoke = False
            self.state.turns += 1
        self._server.send(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._server.abort()


class _Server(_End):
    def __init__(self, state: Relay, client: _Client) -> None:
        super().__init__(state)
        self._client = client

    @override
    def data_received(self, data: bytes) -> None:
        self._client.server_spoke = True
        self._client.send(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._client.abort()
