"""The limits that all replicas share, in one Redis round trip."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from gateway.limits.question import Judgement, Question

BUDGET_SECONDS = 0.025
"""How long a request waits for Redis; the call itself may go on, so that a slow connect still succeeds."""
LAST_LOOKS = 8
"""Turns of the loop after that. Where it was the loop that was held up, what Redis answered in time is read first:
else whoever can make this process stall could have revocations passed over."""
CALL_SECONDS = 1.0
FAILURES_TO_OPEN = 5
PROBE_SECONDS = 2.0

_SCRIPT = files("gateway.limits").joinpath("judge.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

log = logging.getLogger("gateway.limits")


class SharedLimitsUnavailableError(Exception):
    """Redis did not answer within the budget, or is known to be away."""


def redis_client(url: str) -> Redis:
    """A client that fails once and says so: when to ask again is decided here, not by the client."""
    return Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=CALL_SECONDS, socket_timeout=CALL_SECONDS
    )


class SharedLimits:
    """Judges all requests of one turn of the event loop in one pipeline.

    After five failures in a row a breaker opens: nobody waits for Redis until a probe, every two seconds,
    finds it back.
    """

    def __init__(self, url: str, on_change: Callable[[bool], None]) -> None:
        """Connect lazily to `url`; `on_change` hears whether Redis answers, at each change."""
        self._redis = redis_client(url)
        self._on_change = on_change
        self._waiting: list[_Call] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._answering: bool | None = None

    async def judge(self, question: Question) -> Judgement:
        """Ask for revocations and judge every policy on Redis's clock, charging all of them or none.

        Raises:
            SharedLimitsUnavailableError: within 25 ms.
        """
        if self._failures >= FAILURES_TO_OPEN:
            raise SharedLimitsUnavailableError
        call = _Call(question)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send_waiting)
        self._waiting.append(call)
        return await call.answer

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()

    async def probe_forever(self) -> None:
        """Connect ahead of the first request; later, while the breaker is open, ask whether Redis is back."""
        while True:
            if self._answering is None or self._failures >= FAILURES_TO_OPEN:
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await self._probe()
                    self._note(answered=True)
            await asyncio.sleep(PROBE_SECONDS)

    async def _probe(self) -> None:
        async with asyncio.timeout(CALL_SECONDS):
            await self._redis.script_load(_SCRIPT)
        async with asyncio.timeout(BUDGET_SECONDS):
            await self._redis.evalsha(_SHA, 0, 0, 0)

    def _send_waiting(self) -> None:
        calls, self._waiting = self._waiting, []
        task = asyncio.create_task(self._send(calls))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, calls: "list[_Call]") -> None:
        asyncio.get_running_loop().call_later(BUDGET_SECONDS, self._end_wait, calls, LAST_LOOKS)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                replies = await self._ask(calls)
        except (RedisError, OSError, TimeoutError):
            replies = []
        if all(call.answer.done() for call in calls):
            return
        if len(replies) != len(calls) or not all(isinstance(reply, list) for reply in replies):
            self._fail(calls)
            return
        for call, reply in zip(calls, replies, strict=True):
            call.settle(reply)
        self._note(answered=True)

    async def _ask(self, calls: "list[_Call]") -> list[Any]:
        replies = await self._pipeline(calls, "EVALSHA", _SHA)
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._pipeline([calls[at] for at in unknown], "EVAL", _SCRIPT)
            for at, reply in zip(unknown, again, strict=True):
                replies[at] = reply
        return replies

    async def _pipeline(self, calls: "list[_Call]", command: str, script: str) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for call in calls:
            keys = call.question.keys()
            pipeline.execute_command(command, script, len(keys), *keys, *call.question.arguments())
        return list(await pipeline.execute(raise_on_error=False))

    def _end_wait(self, calls: "list[_Call]", looks: int) -> None:
        if all(call.answer.done() for call in calls):
            return
        if looks:
            asyncio.get_running_loop().call_soon(self._end_wait, calls, looks - 1)
        else:
            self._fail(calls)

    def _fail(self, calls: "list[_Call]") -> None:
        for call in calls:
            call.fail()
        self._note(answered=False)

    def _note(self, *, answered: bool) -> None:
        self._failures = 0 if answered else self._failures + 1
        if answered is not self._answering:
            self._answering = answered
            self._on_change(answered)
            log.log(logging.INFO if answered else logging.WARNING, "redis %s", "answers" if answered else "fails")


class _Call:
    """One request's question, and the future that its answer goes to."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.answer: asyncio.Future[Judgement] = asyncio.get_running_loop().create_future()

    def settle(self, reply: list[object]) -> None:
        """Answer the request, unless it went away."""
        if not self.answer.done():
            self.answer.set_result(Judgement.read(self.question, reply))

    def fail(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(SharedLimitsUnavailableError())
