"""A stand-in for nginx: answers whatever comes with the same bytes. `python -m bench.upstream PORT ANSWER`."""

import asyncio
import sys
from typing import cast, override

import uvloop

from devtools.processes import LOOPBACK


class Static(asyncio.Protocol):
    """Takes each read for one request without a body, which is what is sent here."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._transport: asyncio.WriteTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are none by inheritance

    @override
    def data_received(self, data: bytes) -> None:
        assert self._transport  # noqa: S101 - set when the connection was made
        self._transport.write(self._answer)


async def serve(port: int, body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    server = await asyncio.get_running_loop().create_server(lambda: Static(answer), LOOPBACK, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2].encode()))
