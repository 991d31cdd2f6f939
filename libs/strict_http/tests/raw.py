"""The server both services run, around an application of the test, and a client that sends bytes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from strict_http import RejectedError, Response, StrictServer
from strict_http.asgi import App, Headers, Receive, Scope, Send, respond
from strict_http.errors import Code

STATUS: dict[Code, int] = {
    "bad_request": 400,
    "request_timeout": 408,
    "uri_too_long": 414,
    "request_header_fields_too_large": 431,
}


@dataclass
class Seen:
    """A request as the application met it; `body` is none where the client went before its end."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes | None = None


@dataclass
class Answered:
    """An answer as the client met it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The kind of fault, from a response of `Errors`."""
        assert self.headers["content-type"] == "text/x-error"
        return self.body.decode()


@dataclass
class Client:
    """A connection of a client that says exactly what it is told."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, to_head: bool = False) -> Answered:
        """The next answer; what its framing says is its body, and no more."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        pairs = [line.lower().split(": ", 1) for line in lines]
        headers = {name: value for name, value in pairs}  # noqa: C416 - mypy takes pairs of two alone
        assert len(headers) == len(pairs), head
        status = int(first.split(" ")[1])
        if to_head or status == 100:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Answered(status, headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readline() == b"\r\n"
        return body

    async def closed(self) -> bool:
        """Wait for the end of the connection; whether nothing came before it."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True

    async def exchange(self, data: bytes) -> Answered:
        await self.send(data)
        return await self.answer()


@dataclass
class Served:
    """A server on loopback."""

    port: int
    server: StrictServer
    errors: "Errors"
    seen: list[Seen] = field(default_factory=list)
    _clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    async def exchange(self, data: bytes) -> Answered:
        """Send on a new connection, and read the first answer."""
        return await (await self.connect()).exchange(data)

    def close(self) -> None:
        for client in self._clients:
            client.writer.transport.abort()


@dataclass
class Errors:
    """Responds with the kind of fault alone, and keeps each fault."""

    rejections: list[tuple[RejectedError, Headers, Scope | None]] = field(default_factory=list)
    failures: list[BaseException | None] = field(default_factory=list)

    def rejected(self, error: RejectedError, fields: Headers, scope: Scope | None) -> Response:
        self.rejections.append((error, fields, scope))
        return STATUS[error.code], [(b"content-type", b"text/x-error")], error.code.encode()

    def failed(self, error: BaseException | None) -> Response:
        self.failures.append(error)
        return 500, [(b"content-type", b"text/x-error")], b"failed"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers the target and the body, once the body is whole."""
    body = await read_body(receive)
    if body is not None:
        await respond(send, 200, [], scope["raw_path"] + b"?" + scope["query_string"] + b" " + body)


async def read_body(receive: Receive) -> bytes | None:
    """The whole body, or none where the client went before its end."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += bytes(message["body"])
        if not message["more_body"]:
            return body
    return None


@contextlib.asynccontextmanager
async def serving(app: App = echo, *, keepalive_seconds: int = 75) -> AsyncIterator[Served]:
    """`http_server` on a free port of loopback, for the length of a block."""
    seen: list[Seen] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        request = Seen(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"])
        seen.append(request)
        parts: list[bytes] = []

        async def watched_receive() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                parts.append(message["body"])
                if not message["more_body"]:
                    request.body = b"".join(parts)
            return message

        await app(scope, watched_receive, send)

    errors = Errors()
    server = StrictServer(watched, errors, keepalive_seconds=keepalive_seconds, graceful_seconds=25)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Served(listener.getsockname()[1], server, errors, seen)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(20):
                yield served
        finally:
            served.close()
            server.should_exit = True
            await running


async def until(condition: Callable[[], bool]) -> None:
    """For what announces itself nowhere: look again each time the loop has turned."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


def request(target: bytes = b"/", *fields: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    lines = [b"%b %b %b" % (method, target, version), b"Host: a", *fields]
    return b"".join(line + b"\r\n" for line in [*lines, b""])


async def assert_rejected(served: Served, data: bytes, status: int = 400, code: str = "bad_request") -> None:
    """It is answered by this problem and nothing else, and the request behind it never runs."""
    client = await served.connect()
    await client.send(data + request(b"/second"))
    answer = await client.answer()
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["connection"] == "close"
    assert await client.closed()
    assert all(seen.body is None for seen in served.seen), served.seen
