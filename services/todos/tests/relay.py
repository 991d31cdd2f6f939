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

    `delay` is how many seconds each word of the server takes.
    """

    url: str = ""
    turns: int = 0
    cut: int = 0
    delay: float = 0


@asynccontextmanager
async def relay(database_url: str) -> AsyncIterator[Relay]:
    """Relay to the server of `database_url`; `Relay.url` goes through it."""
    parts = urlsplit(database_url)
    state = Relay()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(parts.hostname, parts.port)
        writers.update({client_writer, server_writer})
        server_spoke = True

        async def upward() -> None:
            nonlocal server_spoke
            while data := await client_reader.read(1 << 20):
                if server_spoke:
                    server_spoke = False
                    state.turns += 1
                    if state.cut and data.startswith(PARSE):
                        state.cut -= 1
                        break
                server_writer.write(data)
            server_writer.transport.abort()
            client_writer.transport.abort()

        async def downward() -> None:
            nonlocal server_spoke
            while data := await server_reader.read(1 << 20):
                server_spoke = True
                if state.delay:
                    await asyncio.sleep(state.delay)
                client_writer.write(data)
            client_writer.transport.abort()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(upward(), downward())

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
