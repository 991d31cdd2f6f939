"""A Redis that answers what a test says, for answers that no real one gives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import hiredis

from gateway.limits.redis_url import RedisServer

LOOPBACK = "127.0.0.1"
HELLO = b"*4\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
OK = b"+OK\r\n"

type Answer = Callable[[list[bytes]], bytes]


def everyone_is_within_the_limits(words: list[bytes]) -> bytes:
    """The reply of a Redis that has room for every request."""
    if words[0] == b"HELLO":
        return HELLO
    if words[0] != b"EVALSHA":
        return OK
    # behind the script's name come the number of keys, the keys, two arguments, and two for each policy
    policies = (len(words) - 3 - int(words[2]) - 2) // 2
    return b"*%d\r\n:0\r\n" % (1 + 4 * policies) + b":1\r\n:1\r\n:60\r\n:0\r\n" * policies


@dataclass
class ScriptedRedis:
    """`answer` gives the bytes for each command, none where it stays silent; every command is kept."""

    answer: Answer = everyone_is_within_the_limits
    port: int = 0
    commands: list[list[bytes]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def server(self) -> RedisServer:
        return RedisServer(LOOPBACK, self.port)

    def say(self, data: bytes) -> None:
        """Send something unasked on the last connection."""
        self.writers[-1].write(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        parser = hiredis.Reader()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                parser.feed(data)
                while isinstance(words := parser.gets(), list):
                    self.commands.append(words)
                    writer.write(self.answer(words))
        writer.close()


@contextlib.asynccontextmanager
async def scripted_redis() -> AsyncIterator[ScriptedRedis]:
    redis = ScriptedRedis()
    server = await asyncio.start_server(redis.serve, LOOPBACK, 0)
    redis.port = server.sockets[0].getsockname()[1]
    try:
        yield redis
    finally:
        server.close()
        for writer in redis.writers:
            writer.transport.abort()
        await server.wait_closed()
