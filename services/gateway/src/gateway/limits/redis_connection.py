"""One connection to Redis: commands go out at once, and replies come back in their order.

The protocol is RESP2, which hiredis writes and reads. redis-py's pipelines cost several times what Redis and its
parser do, so nothing lies between a request and this socket.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast, override

import hiredis

from gateway.limits.redis_url import RedisServer
from runtime.reachability import CLOSED, TIMED_OUT, reason_of
from strict_http.deadline import Deadline, time_limit

CONNECT_SECONDS = 1.0
"""From the first packet to the end of the login."""
SILENT_SECONDS = 1.0
"""How long replies may be due and nothing come."""

_NOT_WHOLE = object()
_NOT_REDIS = "it does not speak the protocol of Redis"
_REFUSALS = {
    "DENIED": "it takes connections from its own machine only (protected-mode)",
    "NOAUTH": "it requires a password",
    "WRONGPASS": "it does not accept the user or the password",
}


def pack(*words: str | int) -> bytes:
    """One command in Redis's protocol."""
    return cast(bytes, hiredis.pack_command(words))  # type: ignore[arg-type] # its stub knows no tuple of many


class RedisError(Exception):
    """Redis cannot be used; the message says why, to an operator, and holds nothing that Redis quoted."""


class WrongServerError(RedisError):
    """This server will never do: it is a node of a cluster, or Sentinel."""


class RedisConnection(asyncio.Protocol):
    """A connection that is logged in.

    Attributes:
        closed: it can be used no more.
        hello: what the server says of itself in its reply to `HELLO`: `server`, `version`, `mode`, `role`, ….
    """

    def __init__(self) -> None:
        self.closed = False
        self.hello: Mapping[str, object] = {}
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = hiredis.Reader(notEnoughData=_NOT_WHOLE)
        self._replies: deque[asyncio.Future[object]] = deque()
        self._sent = 0
        self._silence = Deadline(self._loop, lambda: self._fail(TIMED_OUT))
        self._fault = CLOSED

    @classmethod
    async def open(cls, server: RedisServer) -> "RedisConnection":
        """Connect and log in, within a second.

        Raises:
            WrongServerError: it answers, and will never do.
            RedisError: there is no connection.
        """
        try:
            async with time_limit(CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(cls, server.host, server.port, ssl=server.tls)
                try:
                    connection.hello = await _log_in(connection, server)
                except BaseException:
                    connection.close()
                    raise
        except OSError as error:  # TimeoutError and ssl.SSLError too
            raise RedisError(reason_of(error)) from None
        return connection

    async def ask(self, *words: str | int) -> object:
        """Send one command and wait for its reply.

        Raises:
            RedisError: Redis refused it, or the connection ended.
        """
        [reply] = await self.ask_all([pack(*words)])
        if isinstance(reply, hiredis.ReplyError):
            raise refusal(str(words[0]), reply)
        return reply

    async def ask_all(self, commands: Sequence[bytes]) -> list[object]:
        """Send packed commands in one write and wait for all replies, of which any may be a `hiredis.ReplyError`.

        Raises:
            RedisError: the connection ended.
        """
        replies: list[asyncio.Future[object]] = [self._loop.create_future() for _ in commands]
        self.send(b"".join(commands), replies)
        return await asyncio.gather(*replies)

    def send(self, commands: bytes, replies: Sequence[asyncio.Future[object]]) -> int:
        """Write packed commands; each future gets the reply to one of them, or `RedisError` where the connection ends.

        Returns:
            The number of the last command, for `answered`.

        Raises:
            RedisError: the connection is closed.
        """
        if self.closed:
            raise RedisError(self._fault)
        if not self._replies:
            self._silence.set(SILENT_SECONDS)
        self._replies.extend(replies)
        self._sent += len(replies)
        self._transport.write(commands)
        return self._sent

    def answered(self, number: int) -> bool:
        """Whether the replies up to the command of this number came."""
        return self._sent - len(self._replies) >= number

    def close(self) -> None:
        """End the connection; it is closed from now on."""
        self.closed = True
        self._transport.abort()

    def _fail(self, fault: str) -> None:
        self._fault = fault
        self.close()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    @override
    def data_received(self, data: bytes) -> None:
        replies = self._replies
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOT_WHOLE:
                future = replies.popleft()
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            # not Redis, or more replies than commands: no later reply could be matched to its command
            self._fail(_NOT_REDIS)
            return
        if replies:
            self._silence.set(SILENT_SECONDS)
        else:
            self._silence.clear()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._silence.stop()
        while self._replies:
            future = self._replies.popleft()
            if not future.done():
                future.set_exception(RedisError(self._fault))


async def _log_in(connection: RedisConnection, server: RedisServer) -> dict[str, object]:
    login = [] if server.password is None else ["AUTH", server.username, server.password]
    hello = _mapping(await connection.ask("HELLO", 2, *login, "SETNAME", server.client_name))
    if hello.get("mode") == "cluster":
        raise WrongServerError("it is a node of a cluster; the gateway needs one Redis that holds every key")
    if hello.get("mode") == "sentinel":
        raise WrongServerError("it is Sentinel, which holds no keys; name the Redis that it watches")
    if hello.get("role") in ("replica", "slave"):
        raise RedisError("it is a replica, which takes no writes; name the primary")
    if server.database:
        await connection.ask("SELECT", server.database)
    return hello


def refusal(command: str, reply: hiredis.ReplyError) -> RedisError:
    """The first word of an error is its code; what follows may quote the command."""
    code = str(reply).partition(" ")[0]
    return RedisError(_REFUSALS.get(code, f"it refuses {command} with {code}"))


def _mapping(reply: object) -> dict[str, object]:
    """A map, which RESP2 has as a list of keys and values."""
    if not isinstance(reply, list):
        raise RedisError(_NOT_REDIS)
    words = [word.decode(errors="replace") if isinstance(word, bytes) else word for word in reply]
    return dict(zip(words[::2], words[1::2], strict=False))
