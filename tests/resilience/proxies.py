"""Links between two processes: TCP proxies that can be slowed, held, cut, and severed in mid-answer."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Sequence

from devtools.processes import LOOPBACK, free_port

CHUNK_BYTES = 64 * 1024

type Targets = Callable[[], Sequence[int]]
"""The ports to connect to, the preferred one first."""


class Link:
    """A network path to the first of `targets` that accepts a connection.

    `delay`: seconds that each piece of data takes, both ways. `sever_after`: bytes of an answer after which the
    connection is reset. `hold` keeps data back, as a partition does until TCP sends again; `cut` refuses.
    """

    def __init__(self, name: str, targets: Targets) -> None:
        self.name = name
        self.port = free_port()
        self.delay = 0.0
        self.sever_after: int | None = None
        self._targets = targets
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._passable = asyncio.Event()
        self._passable.set()

    async def listen(self) -> None:
        """Accept connections, for the first time or again after `cut`."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    def cut(self) -> None:
        """Reset every connection and refuse new ones until `listen`."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in [writer for writers in self._open.values() for writer in writers]:
            writer.transport.abort()

    def hold(self) -> None:
        """Pass nothing on: what is sent arrives at `release`."""
        self._passable.clear()

    def release(self) -> None:
        self._passable.set()

    async def close(self) -> None:
        """Cut, and wait until nothing of the link runs."""
        self.cut()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open[task] = [writer]
        try:
            await self._passable.wait()
            inner_reader, inner_writer = await self._connect()
            self._open[task].append(inner_writer)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, inner_writer, answering=False))
                pumps.create_task(self._pump(inner_reader, writer, answering=True))
        except* (OSError, _ConnectionEndedError):
            pass
        finally:
            for each in self._open.pop(task):
                each.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for port in self._targets():
            with contextlib.suppress(ConnectionError):
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return reader, writer
        raise ConnectionRefusedError

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answering: bool) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._passable.wait()
            if answering and self.sever_after is not None:
                writer.write(data[: self.sever_after])
                await writer.drain()
                break
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            # what was written still goes out before the end of the stream
            writer.close()
            await writer.wait_closed()
        raise _ConnectionEndedError


class _ConnectionEndedError(Exception):
    """One side has hung up: the other is hung up on too."""


@contextlib.asynccontextmanager
async def listening(links: Sequence[Link]) -> AsyncIterator[None]:
    """The links, for the length of a block."""
    try:
        for link in links:
            await link.listen()
        yield
    finally:
        for link in links:
            await link.close()
