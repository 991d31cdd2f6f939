"""Clients that take what all share, and keep it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from gateway_harness import Provider, Running

MUCH = 1 << 19
"""More than fits between the upstream and a `slow_readers` client of a gateway whose send buffer is `SMALL`."""
SMALL = 32 * 1024


def authorized(provider: Provider, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.token(sub=user)}"}


@contextlib.asynccontextmanager
async def stalled_uploads(
    gateway: Running, provider: Provider, users: list[str], size: int, path: str = "/v1/todos"
) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Uploads of which all but the last byte has been sent."""
    connections = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in users]
    try:
        for user, (_, writer) in zip(users, connections, strict=True):
            token = provider.token(sub=user)
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {size}\r\n\r\n"
            writer.write(head.encode() + b"x" * (size - 1))
        yield [reader for reader, _ in connections]
    finally:
        for _, writer in connections:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def slow_readers(gateway: Running, provider: Provider, users: list[str]) -> AsyncIterator[None]:
    """Exports of which nobody reads a byte."""
    loop = asyncio.get_running_loop()
    tokens = {user: provider.token(sub=user) for user in set(users)}
    with contextlib.ExitStack() as connections:
        for user in users:
            connection = connections.enter_context(socket.socket())
            connection.setblocking(False)  # noqa: FBT003 - the socket's own signature
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            await loop.sock_connect(connection, ("127.0.0.1", gateway.port))
            head = f"GET /v1/export HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {tokens[user]}\r\n\r\n"
            await loop.sock_sendall(connection, head.encode())
        yield
