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

from gateway.limits.redis_command import Judgement, Question
from gateway.limits.redis_connection import Pipe, PipeClosedError, pack

BUDGET_SECONDS = 0.025
"""How long a request waits for Redis; the call itself may go on, so that a slow connect still succeeds."""
LAST_LOOKS = 8
"""Turns of the loop after that. Where it was the loop that was held up, what Redis answered in time is read first:
else whoever can make this process stall could have revocations passed over."""
CALL_SECONDS = 1.0
FAILURES_TO_OPEN = 5
PROBE_SECONDS = 2.0

_SCRIPT = files("gateway.limits").joinpath("gcra.lua").read_text()
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
    """Judges all requests of one turn of the event loop by one write to one connection.

    After five failures in a row a breaker opens: nobody waits for Redis until a probe, every two seconds,
    finds it back.
    """

    def __init__(self, url: str, on_change: Callable[[bool], None]) -> None:
        """Connect lazily to `url`; `on_change` hears whether Redis answers, at each change."""
        self._url = url
        self._on_change = on_change
        self._pipe: Pipe | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._turn: _Turn | None = None
        self._unsent: list[_Turn] = []
        self._failures = 0
        self._answering: bool | None = None

    async def judge(self, question: Question) -> Judgement:
        """Ask for revocations and judge every policy on Redis's clock, charging all of them or none.

        Raises:
            SharedLimitsUnavailableError: within 25 ms.
        """
        if self._failures >= FAILURES_TO_OPEN:
            raise SharedLimitsUnavailableError
        if self._turn is None:
            self._turn = _Turn(self._note)
            asyncio.get_running_loop().call_soon(self._send_turn)
        return Judgement.read(question, await self._turn.ask(question))

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._drop()

    async def probe_forever(self) -> None:
        """Connect ahead of the first request; later, while the breaker is open, ask whether Redis is back."""
        while True:
            if self._answering is None or self._failures >= FAILURES_TO_OPEN:
                await self._probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def _probe(self) -> None:
        """Connect anew: what has failed might never answer on the old connection."""
        self._drop()
        await self._connected()
        with contextlib.suppress(PipeClosedError, TimeoutError, _RefusedError):
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
            self._pipe = await Pipe.open(self._url, CALL_SECONDS, self._forget)
            async with asyncio.timeout(CALL_SECONDS):
                await self._ask("SCRIPT", "LOAD", _SCRIPT)
        except (PipeClosedError, TimeoutError, _RefusedError):
            self._drop()
        finally:
            self._connecting = None
            turns, self._unsent = self._unsent, []
            for turn in turns:
                self._send(turn)

    async def _ask(self, *words: str | int) -> None:
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def receive(given: object) -> None:
            if not reply.done():
                reply.set_result(given)

        if self._pipe is None:
            raise PipeClosedError
        self._pipe.send(pack(*words), [receive])
        if (given := await reply) is None or isinstance(given, hiredis.ReplyError):
            raise _RefusedError

    def _forget(self, pipe: Pipe) -> None:
        if self._pipe is pipe:
            self._pipe = None

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _send_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        asyncio.get_running_loop().call_later(BUDGET_SECONDS, self._end_wait, turn, LAST_LOOKS)
        if self._pipe is None or self._connecting is not None:
            self._unsent.append(turn)
            self._connected()
        else:
            self._send(turn)

    def _send(self, turn: "_Turn") -> None:
        if self._pipe is None:
            turn.fail()
        elif not turn.settled:
            turn.send(self._pipe)

    def _end_wait(self, turn: "_Turn", looks: int) -> None:
        if turn.settled:
            return
        loop = asyncio.get_running_loop()
        if looks:
            loop.call_soon(self._end_wait, turn, looks - 1)
        else:
            turn.fail()
            loop.call_later(CALL_SECONDS, self._end_call, turn)

    def _end_call(self, turn: "_Turn") -> None:
        """A connection that never answers would hold up all that is asked on it."""
        if turn.pipe is self._pipe and turn.unanswered:
            self._drop()

    def _note(self, *, answered: bool) -> None:
        self._failures = 0 if answered else self._failures + 1
        if answered is not self._answering:
            self._answering = answered
            self._on_change(answered)
            log.log(logging.INFO if answered else logging.WARNING, "redis %s", "answers" if answered else "fails")


class _RefusedError(Exception):
    pass


class _Turn:
    """The questions of one turn of the loop. They fail together, since what one of them met, all would have."""

    def __init__(self, note: Callable[..., None]) -> None:
        self.pipe: Pipe | None = None
        self.unanswered = 0
        self._note = note
        self._calls: list[_Call] = []
        self._failed = False

    @property
    def settled(self) -> bool:
        return self._failed or all(call.answer.done() for call in self._calls)

    def ask(self, question: Question) -> "asyncio.Future[list[object]]":
        call = _Call(self, question)
        self._calls.append(call)
        return call.answer

    def send(self, pipe: Pipe) -> None:
        self.pipe, self.unanswered = pipe, len(self._calls)
        commands = [call.question.command(_SHA) for call in self._calls]
        pipe.send(b"".join(commands), [call.receive for call in self._calls])

    def receive(self, call: "_Call", reply: object) -> None:
        self.unanswered -= 1
        if isinstance(reply, list):
            if not self._failed:
                self._note(answered=True)
                call.settle(reply)
        elif isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT") and self.pipe is not None:
            self.unanswered += 1
            self.pipe.send(call.question.pack("EVAL", _SCRIPT), [call.receive])
        else:
            self.fail()

    def fail(self) -> None:
        if not self._failed:
            self._failed = True
            self._note(answered=False)
            for call in self._calls:
                call.fail()


class _Call:
    """One request's question, and the future that its answer goes to."""

    __slots__ = ("_turn", "answer", "question")

    def __init__(self, turn: _Turn, question: Question) -> None:
        self._turn = turn
        self.question = question
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

    def receive(self, reply: object) -> None:
        self._turn.receive(self, reply)

    def settle(self, reply: list[object]) -> None:
        """Answer the request, unless it went away."""
        if not self.answer.done():
            self.answer.set_result(reply)

    def fail(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(SharedLimitsUnavailableError())
