"""The limits that all replicas share, in one Redis round trip."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from importlib.resources import files

from gateway.limits.circuit_breaker import CircuitBreaker
from gateway.limits.redis_batch import RedisBatch
from gateway.limits.redis_command import CheckResult, LimitCheck, script_is_missing
from gateway.limits.redis_connection import RedisConnection, RedisError
from gateway.limits.redis_url import RedisServer
from gateway.limits.restoration import RevocationRestorer
from gateway.limits.revocation import RevocationMemory
from runtime.logs import fields

BUDGET_SECONDS = 0.025
"""How long a request waits for Redis; the call itself may go on, so that a slow connect still succeeds."""
PROBE_SECONDS = 2.0

SCRIPT = files("gateway.limits").joinpath("gcra.lua").read_text()
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

log = logging.getLogger("gateway.limits")


class RedisUnavailableError(Exception):
    """Redis did not answer within the budget, or is known to be away."""


class RedisLimits:
    """Checks all requests of one turn of the event loop by one write to one connection."""

    def __init__(self, server: RedisServer, on_change: Callable[[bool], None], revocations: RevocationMemory) -> None:
        """Connect lazily to `server`; `on_change` gets whether Redis is available, at each change.

        `revocations` are written back to a Redis that lost its data.
        """
        self._server = server
        self._on_change = on_change
        self._restorer = RevocationRestorer(revocations)
        self._breaker = CircuitBreaker()
        self._connection: RedisConnection | None = None
        self._connecting: asyncio.Task[RedisConnection] | None = None
        self._batch: RedisBatch | None = None
        self._fault: str | None = ""
        """Why Redis is unavailable; None while it is available, empty before that is known."""

    async def check(self, check: LimitCheck) -> CheckResult:
        """Look for revocations and check every policy on Redis's clock, charging all of them or none.

        Raises:
            RedisUnavailableError: within 25 ms; within 50 where Redis answered and has lost the script.
        """
        if not self._breaker.closed:
            raise RedisUnavailableError
        return await self._check(check)

    async def keep_connected(self) -> None:
        """Connect ahead of the first request, and see every two seconds whether Redis answers and kept its data.

        It never returns.
        """
        while True:
            await self._probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._drop()

    async def _probe(self) -> None:
        """Check that Redis holds the revocations and runs the script.

        With the breaker open it does so on a new connection: the old one may be broken.
        """
        if not self._breaker.closed:
            self._breaker.probe()
            self._drop()
        try:
            await self._restorer.restore(await self._connected())
        except RedisError as error:
            self._failed(str(error))
            return
        with contextlib.suppress(RedisUnavailableError):
            await self._check(LimitCheck("", []))

    async def _check(self, check: LimitCheck) -> CheckResult:
        batch = self._open_batch()
        try:
            reply = await batch.add(check.command(SHA))
            if script_is_missing(reply):
                batch = self._open_batch()
                reply = await batch.add(check.pack("EVAL", SCRIPT))
            batch.settle()
            result = CheckResult.read(check, reply)
        except RedisError as error:
            if not batch.failed:
                batch.failed = True
                self._failed(str(error))
            raise RedisUnavailableError from None
        self._succeeded()
        return result

    def _open_batch(self) -> RedisBatch:
        if self._batch is None:
            self._batch = RedisBatch(BUDGET_SECONDS)
            asyncio.get_running_loop().call_soon(self._send_batch, self._batch)
        return self._batch

    def _send_batch(self, batch: RedisBatch) -> None:
        self._batch = None
        if self._connection is not None and not self._connection.closed:
            batch.send(self._connection)
        else:
            self._connect().add_done_callback(batch.send_once_connected)

    async def _connected(self) -> RedisConnection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        return await asyncio.shield(self._connect())

    def _connect(self) -> "asyncio.Task[RedisConnection]":
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open_connection())
        return self._connecting

    async def _open_connection(self) -> RedisConnection:
        try:
            self._connection = await RedisConnection.open(self._server)
            await self._connection.ask("SCRIPT", "LOAD", SCRIPT)
        except BaseException:
            self._drop()
            raise
        finally:
            self._connecting = None
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _succeeded(self) -> None:
        self._breaker.succeeded()
        self._note(None)

    def _failed(self, reason: str) -> None:
        self._breaker.failed()
        self._note(reason)

    def _note(self, fault: str | None) -> None:
        if fault == self._fault:
            return
        self._fault = fault
        self._on_change(fault is None)
        if fault is None:
            log.info("Redis available")
        else:
            log.warning("Redis unavailable", extra=fields(host=self._server.host, port=self._server.port, reason=fault))
