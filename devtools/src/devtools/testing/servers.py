"""A server that answers what a test says, to the byte."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """A request as it came: names in lower case, in their order."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def __getitem__(self, name: str) -> str:
        values = [value for key, value in self.headers if key == name]
        if len(values) != 1:
            raise KeyError(f"{name} came {len(values)} times")
        return values[0]

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.headers)


@dataclass(frozen=True)
class Reply:
    """Bytes to send, and what to do with the connection behind them."""

    data: bytes
    then: Literal["keep", "close", "reset"] = "keep"


type Answerer = Callable[[Request], Reply | Awaitable[Reply]]


def reply(
    body: bytes = b"",
    status: int = 200,
    headers: dict[str, str] | None = None,
    *,
    then: Literal["keep", "close"] = "keep",
) -> Reply:
    """A well-formed answer."""
    fields = {"content-length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
    return Reply("\r\n".join(lines).encode() + b"\r\n\r\n" + body, then)


@dataclass
class ScriptedServer:
    """A server on loopback; `answer` may be exchanged at any time, and every request is kept in `requests`."""

    answer: Answerer
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        """Listen on the port of before, or on any free one."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def wait_for_requests(self, count: int) -> None:
        """Return when `count` requests have come."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._exchange(reader, writer, number):
                    pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        request = await _read(reader, number)
        async with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()
        given = self.answer(request)
        answer = given if isinstance(given, Reply) else await given
        writer.write(answer.data)
        if answer.then == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        await writer.drain()
        return answer.then == "keep"


@contextlib.asynccontextmanager
async def scripted_server(answer: Answerer) -> AsyncIterator[ScriptedServer]:
    """A `ScriptedServer` for the length of a block."""
    server = ScriptedServer(answer)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def _read(reader: asyncio.StreamReader, number: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _version = first.split(" ")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Request(method, target, headers, await reader.readexactly(length), number)
