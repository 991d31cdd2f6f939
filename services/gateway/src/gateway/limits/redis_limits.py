"""The limits that all replicas share, in one Redis round trip."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from importlib.resources import files

import hiredis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.limits.redis_command import CheckResult, LimitCheck
from gateway.limits.redis_connection import RedisConnection, RedisConnectionError, pack

BUDGET_SECONDS = 0.025
"""How long a request waits for Redis; the call itself may go on, so that a slow connect still succeeds."""
EXTRA_ITERATIONS = 8
"""Turns of the loop after that. Where it was the loop that was held up, what Redis answered in time is read first:
else whoever can make this process stall could have revocations passed over."""
CALL_SECONDS = 1.0
FAILURES_TO_OPEN = 5
PROBE_SECONDS = 2.0

_SCRIPT = files("gateway.limits").joinpath("gcra.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

log = logging.getLogger("gateway.limits")


class RedisUnavailableError(Exception):
    """Redis did not answer within the budget, or is known to be away."""


def redis_client(url: str) -> Redis:
    """A client that fails once and says so: when to ask again is decided here, not by the client."""
    return Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=CALL_SECONDS, socket_timeout=CALL_SECONDS
    )


class RedisLimits:
    """Checks all requests of one turn of the event loop by one write to one connection.

    After five failures in a row a breaker opens: nobody waits for Redis until a probe, every two seconds,
    finds it back.
    """

    def __init__(self, url: str, on_change: Callable[[bool], None]) -> None:
        """Connect lazily to `url`; `on_change` hears whether Redis answers, at each change."""
        self._url = url
        self._on_change = on_change
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._batch: _Batch | None = None
        self._unsent: list[_Batch] = []
        self._failures = 0
        self._available: bool | None = None

    async def check(self, check: LimitCheck) -> CheckResult:
        """Look for revocations and check every policy on Redis's clock, charging all of them or none.

        Raises:
            RedisUnavailableError: within 25 ms.
        """
        if self._failures >= FAILURES_TO_OPEN:
            raise RedisUnavailableError
        if self._batch is None:
            self._batch = _Batch(self._note)
            asyncio.get_running_loop().call_soon(self._send_batch)
        return CheckResult.read(check, await self._batch.add(check))

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._drop()

    async def probe_forever(self) -> None:
        """Connect ahead of the first request; later, while the breaker is open, ask whether Redis is back."""
        while True:
            if self._available is None or self._failures >= FAILURES_TO_OPEN:
                await self._probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def _probe(self) -> None:
        """Connect anew: what has failed might never answer on the old connection."""
        self._drop()
        await self._connected()
        with contextlib.suppress(RedisConnectionError, TimeoutError, _RedisReplyError):
            async with asyncio.timeout(BUDGET_SECONDS):
                await self._ask("EVALSHA", _SHA, 0, 0, 0)
            self._note(answered=True)

    def _connected(self) -> "asyncio.Task[None]":
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
        return self._connecting

    async def _connect(self) -> None:
        """Connect, and send what waits for it; where that fails, so does what waits."""
        try:
            self._connection = await RedisConnection.open(self._url, CALL_SECONDS, self._forget)
            async with asyncio.timeout(CALL_SECONDS):
                await self._ask("SCRIPT", "LOAD", _SCRIPT)
        except (RedisConnectionError, TimeoutError, _RedisReplyError):
            self._drop()
        finally:
            self._connecting = None
            batches, self._unsent = self._unsent, []
            for batch in batches:
                self._send(batch)

    async def _ask(self, *words: str | int) -> None:
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def receive(given: object) -> None:
            if not reply.done():
                reply.set_result(given)

        if self._connection is None:
            raise RedisConnectionError
        self._connection.send(pack(*words), [receive])
        if (given := await reply) is None or isinstance(given, hiredis.ReplyError):
            raise _RedisReplyError

    def _forget(self, connection: RedisConnection) -> None:
        if self._connection is connection:
            self._connection = None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send_batch(self) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        asyncio.get_running_loop().call_later(BUDGET_SECONDS, self._end_wait, batch, EXTRA_ITERATIONS)
        if self._connection is None or self._connecting is not None:
            self._unsent.append(batch)
            self._connected()
        else:
            self._send(batch)

    def _send(self, batch: "_Batch") -> None:
        if self._connection is None:
            batch.fail()
        elif not batch.settled:
            batch.send(self._connection)

    def _end_wait(self, batch: "_Batch", looks: int) -> None:
        if batch.settled:
            return
        loop = asyncio.get_running_loop()
        if looks:
            loop.call_soon(self._end_wait, batch, looks - 1)
        else:
            batch.fail()
            loop.call_later(CALL_SECONDS, self._end_call, batch)

    def _end_call(self, batch: "_Batch") -> None:
        """A connection that never answers would hold up all that is asked on it."""
        if batch.connection is self._connection and batch.unanswered:
            self._drop()

    def _note(self, *, answered: bool) -> None:
        self._failures = 0 if answered else self._failures + 1
        if answered is not self._available:
            self._available = answered
            self._on_change(answered)
            log.log(logging.INFO if answered else logging.WARNING, "redis %s", "answers" if answered else "fails")


class _RedisReplyError(Exception):
    pass


class _Batch:
    """The checks of one turn of the loop. They fail together, since what one of them met, all would have."""

    def __init__(self, note: Callable[..., None]) -> None:
        self.connection: RedisConnection | None = None
        self.unanswered = 0
        self._note = note
        self._calls: list[_PendingCheck] = []
        self._failed = False

    @property
    def settled(self) -> bool:
        return self._failed or all(call.answer.done() for call in self._calls)

    def add(self, check: LimitCheck) -> "asyncio.Future[list[object]]":
        call = _PendingCheck(self, check)
        self._calls.append(call)
        return call.answer

    def send(self, connection: RedisConnection) -> None:
        self.connection, self.unanswered = connection, len(self._calls)
        commands = [call.check.command(_SHA) for call in self._calls]
        connection.send(b"".join(commands), [call.receive for call in self._calls])

    def receive(self, call: "_PendingCheck", reply: object) -> None:
        self.unanswered -= 1
        if isinstance(reply, list):
            if not self._failed:
                self._note(answered=True)
                call.settle(reply)
        elif self.connection is not None and _script_is_missing(reply):
            self.unanswered += 1
            self.connection.send(call.check.pack("EVAL", _SCRIPT), [call.receive])
        else:
            self.fail()

    def fail(self) -> None:
        if not self._failed:
            self._failed = True
            self._note(answered=False)
            for call in self._calls:
                call.fail()


def _script_is_missing(reply: object) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")


class _PendingCheck:
    """One request's check, and the future that its result goes to."""

    __slots__ = ("_batch", "answer", "check")

    def __init__(self, batch: _Batch, check: LimitCheck) -> None:
        self._batch = batch
        self.check = check
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

    def receive(self, reply: object) -> None:
        self._batch.receive(self, reply)

    def settle(self, reply: list[object]) -> None:
        """Answer the request, unless it went away."""
        if not self.answer.done():
            self.answer.set_result(reply)

    def fail(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(RedisUnavailableError())
