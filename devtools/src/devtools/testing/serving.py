"""HTTP inside a test without pauses: a uvicorn server that ends at once, and clients that share one TLS context."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn

_TLS = ssl.create_default_context()
"""Loading the trusted authorities takes 50 ms, which httpx would spend on every client."""


def http_client(**options: Any) -> httpx.AsyncClient:
    """A client that ignores the environment; `options` as `httpx.AsyncClient` takes them."""
    return httpx.AsyncClient(verify=_TLS, trust_env=False, **options)


@contextlib.asynccontextmanager
async def serving(server: uvicorn.Server, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on `listener`; at the end close idle connections and wait for requests under way.

    uvicorn's own end waits for the next tenth of a second, and then for another one.
    """
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if server.started:
            await _end(server)


async def _end(server: uvicorn.Server) -> None:
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    async with asyncio.timeout(30):
        while server.server_state.connections or server.server_state.tasks:
            if server.server_state.tasks:
                await asyncio.wait(server.server_state.tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(0)
