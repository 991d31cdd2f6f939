"""The commands of one turn of the event loop, in one write."""

import asyncio

from gateway.limits.redis_connection import RedisConnection, RedisError
from strict_http.deadline import Deadline


class RedisBatch:
    """Commands that wait for the end of the turn, are written together, and have the same time to be answered.

    Attributes:
        failed: for its owner to note that it counted the failure of the batch: what one of its commands meets,
            all do.
    """

    __slots__ = ("_commands", "_connection", "_deadline", "_expired", "_last", "_replies", "_seconds", "failed")

    def __init__(self, seconds: float) -> None:
        self.failed = False
        self._expired = False
        self._seconds = seconds
        self._commands: list[bytes] = []
        self._replies: list[asyncio.Future[object]] = []
        self._connection: RedisConnection | None = None
        self._last = 0
        self._deadline = Deadline(asyncio.get_running_loop(), self._expire)
        self._deadline.set(seconds)

    def add(self, command: bytes) -> asyncio.Future[object]:
        """The reply to come: a `hiredis.ReplyError` where Redis refuses the command.

        It raises `RedisError` where there is no connection, or no reply in time.
        """
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._commands.append(command)
        self._replies.append(reply)
        return reply

    def send(self, connection: RedisConnection) -> None:
        """Write all commands, unless their time has passed."""
        if self._expired:
            return
        try:
            self._last = connection.send(b"".join(self._commands), self._replies)
        except RedisError as error:
            self._fail(str(error))
        self._connection = connection

    def send_once_connected(self, connecting: "asyncio.Task[RedisConnection]") -> None:
        """Write all commands to the connection that this finished task made; without one, all fail."""
        if connecting.cancelled():
            self._fail("there is no connection")
        elif error := connecting.exception():
            self._fail(str(error))
        else:
            self.send(connecting.result())

    def settle(self) -> None:
        """Let go of the timer, if every reply came: it would cost more than all the rest."""
        if self._connection is not None and self._connection.answered(self._last):
            self._deadline.stop()

    def _expire(self) -> None:
        self._expired = True
        self._fail(f"no answer within {self._seconds * 1000:g} ms")

    def _fail(self, reason: str) -> None:
        for reply in self._replies:
            if not reply.done():
                reply.set_exception(RedisError(reason))
