"""One connection to Redis: whatever is asked goes out at once, and the replies come back in its order.

redis-py connects: address, TLS, authentication and database are as its URLs say them. Then its socket is used by
itself, since redis-py's own pipeline costs several times what Redis and its parser do.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast, override

import hiredis
from redis.asyncio import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

type Receiver = Callable[[object], None]
"""Takes one reply; `hiredis.ReplyError` where Redis refused, `None` where the connection ended before."""

_NOT_WHOLE = object()


def pack(*words: str | int) -> bytes:
    """One command in Redis's protocol."""
    return cast(bytes, hiredis.pack_command(words))  # type: ignore[arg-type] # its stub knows no tuple of many


class RedisConnectionError(Exception):
    """The connection cannot be made."""


class RedisConnection(asyncio.Protocol):
    """The connection, once it is open."""

    def __init__(self, writer: asyncio.StreamWriter, on_end: "Callable[[RedisConnection], None]") -> None:
        self._writer = writer  # it would close the socket when it is collected
        self._transport = cast(asyncio.Transport, writer.transport)
        self._transport.set_protocol(self)
        self._on_end = on_end
        self._reader = hiredis.Reader(notEnoughData=_NOT_WHOLE)
        self._receivers: deque[Receiver] = deque()

    @classmethod
    async def open(cls, url: str, seconds: float, on_end: "Callable[[RedisConnection], None]") -> "RedisConnection":
        """Connect within `seconds`; `on_end` is called once when the connection ends.

        Raises:
            RedisConnectionError: it cannot be made.
        """
        pool = ConnectionPool.from_url(
            url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=seconds, socket_timeout=seconds, protocol=2
        )
        connection = cast(Connection, pool.make_connection())  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(seconds):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisConnectionError(type(error).__name__) from None
        # redis-py has no public way to its socket
        writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        return cls(cast(asyncio.StreamWriter, writer), on_end)

    def send(self, commands: bytes, receivers: Sequence[Receiver]) -> None:
        """Write packed commands; each receiver gets the reply to one of them."""
        self._receivers.extend(receivers)
        self._transport.write(commands)

    def close(self) -> None:
        self._transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOT_WHOLE:
                self._receivers.popleft()(reply)
        except (hiredis.ProtocolError, IndexError):
            # not Redis, or more than was asked: no later reply could be told from another's
            self.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        receivers, self._receivers = self._receivers, deque()
        self._on_end(self)
        for receive in receivers:
            receive(None)
