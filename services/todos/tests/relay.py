"""A relay before PostgreSQL that counts round trips, and cuts and slows connections on request."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

PARSE = b"P"
"""How a statement begins on the wire, where a handshake does not."""


@dataclass
class Relay:
    """`turns` grows whenever a client speaks after the server, or first; `cut` ends the next ones with statements.

    `cut_answers` ends the next ones as their statements are answered, which have then been executed.

    `delay` is how many seconds each word of the server takes.
    """

    url: str = ""
    turns: int = 0
    cut: int = 0
    cut_answers: int = 0
    delay: float = 0


class _Link:
    """One client and its connection to the server."""

    def __init__(self, state: Relay, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._state = state
        self._client = client
        self._server = server
        self._server_spoke = True
        self._is_asked = False

    async def upward(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 20):
            self._is_asked = data.startswith(PARSE)
            if self._server_spoke:
                self._server_spoke = False
                self._state.turns += 1
                if self._state.cut and self._is_asked:
                    self._state.cut -= 1
                    break
            self._server.write(data)
        self._server.transport.abort()
        self._client.transport.abort()

    async def downward(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(1 << 20):
            if self._state.cut_answers and self._is_asked:
                self._state.cut_answers -= 1
                break
            self._server_spoke = True
            if self._state.delay:
                await asyncio.sleep(self._state.delay)
            self._client.write(data)
        self._client.transport.abort()


@asynccontextmanager
async def relay(database_url: str) -> AsyncIterator[Relay]:
    """Relay to the server of `database_url`; `Relay.url` goes through it."""
    parts = urlsplit(database_url)
    state = Relay()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(parts.hostname, parts.port)
        writers.update({client_writer, server_writer})
        link = _Link(state, client_writer, server_writer)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(link.upward(client_reader), link.downward(server_reader))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    credentials = parts.netloc.rpartition("@")[0]
    state.url = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}"))
    try:
        yield state
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
