"""One round trip for all requests of a turn, and nobody waits for a Redis that does not answer."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from itertools import pairwise

import pytest
import uvloop
from gateway_harness import until
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_redis import HELLO, everyone_is_within_the_limits, scripted_redis

from devtools.valkey import LocalValkey
from gateway.limits.circuit_breaker import FAILURES_TO_OPEN
from gateway.limits.gcra import MICROSECONDS, Verdict
from gateway.limits.policy import Policy
from gateway.limits.redis_command import LimitCheck
from gateway.limits.redis_limits import BUDGET_SECONDS, RedisLimits, RedisUnavailableError
from gateway.limits.redis_url import RedisServer, parse_redis_url
from gateway.limits.revocation import RevocationMemory

TWO_PER_MINUTE = Policy("user", 2, 60)
ONE_WRITE = Policy("user-write", 1, 60)


async def check(limits: RedisLimits, subject: str, policies: list[Policy]) -> list[Verdict]:
    return (await limits.check(LimitCheck(subject, policies))).verdicts


async def connected(server: RedisServer, on_change: Callable[[bool], None] = lambda _available: None) -> RedisLimits:
    """With a connection ahead of the first request, which on a busy machine could take longer than the budget."""
    limits = RedisLimits(server, on_change, RevocationMemory(3600, 10))
    await limits._probe()
    return limits


@settings(max_examples=20, deadline=None)
@given(limit=st.integers(1, 40), window=st.integers(100, 3600), requests=st.integers(1, 60))
def test_the_script_judges_as_the_arithmetic_does(
    valkey_server: LocalValkey, limit: int, window: int, requests: int
) -> None:
    policy = Policy("user", limit, window)

    async def verdicts() -> list[Verdict]:
        valkey_server.flush()
        limits = await connected(parse_redis_url(valkey_server.url))
        try:
            return [(await check(limits, "alice", [policy]))[0] for _ in range(requests)]
        finally:
            await limits.close()

    checked = asyncio.run(verdicts())
    assert [verdict.allowed for verdict in checked] == [number < limit for number in range(requests)]
    interval = window * MICROSECONDS // limit
    for number, verdict in enumerate(checked[:limit]):
        assert verdict.remaining == limit - number - 1
        assert number * interval < verdict.reset <= (number + 1) * interval
    for earlier, later in pairwise(checked[limit:]):
        assert 0 < later.retry <= earlier.retry <= interval


async def test_redis_charges_all_policies_or_none(redis_limits: RedisLimits) -> None:
    both = [TWO_PER_MINUTE, ONE_WRITE]
    assert [v.allowed for v in await check(redis_limits, "alice", both)] == [True, True]
    for _ in range(3):
        assert [v.allowed for v in await check(redis_limits, "alice", both)] == [True, False]
    assert (await check(redis_limits, "alice", [TWO_PER_MINUTE]))[0].remaining == 0


async def test_requests_of_one_turn_share_one_write(redis_limits: RedisLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    connection = redis_limits._connection
    assert connection is not None
    send = connection.send

    def counting(commands: bytes, replies: list[asyncio.Future[object]]) -> int:
        writes.append(len(replies))
        return send(commands, replies)

    monkeypatch.setattr(connection, "send", counting)
    await asyncio.gather(*(check(redis_limits, f"user-{number}", [TWO_PER_MINUTE]) for number in range(20)))
    assert writes == [20]


async def test_lost_scripts_are_sent_again_within_the_request(redis_limits: RedisLimits, valkey: LocalValkey) -> None:
    await check(redis_limits, "alice", [TWO_PER_MINUTE])
    valkey.flush()
    assert (await check(redis_limits, "alice", [TWO_PER_MINUTE]))[0].remaining == 1


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_answer_that_came_in_time_counts_though_the_loop_was_held_up(
    valkey: LocalValkey, run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    async def check_while_held_up() -> None:
        limits = await connected(parse_redis_url(valkey.url))
        try:
            for _ in range(5):
                checked = asyncio.create_task(check(limits, "alice", [Policy("user", 600, 60)]))
                assert limits._connection is not None
                while not limits._connection._replies:  # noqa: ASYNC110 - nothing tells it
                    await asyncio.sleep(0)
                time.sleep(2 * BUDGET_SECONDS)  # noqa: ASYNC251 - it is the loop that must not turn
                assert (await checked)[0].allowed
        finally:
            await limits.close()

    run(check_while_held_up())


async def test_keys_of_one_subject_lie_in_one_slot_expire_and_name_nobody(
    redis_limits: RedisLimits, valkey: LocalValkey
) -> None:
    await check(redis_limits, "user:alice{}", [TWO_PER_MINUTE, ONE_WRITE])
    keys = valkey.command("KEYS", "gateway:{*")
    assert isinstance(keys, list)
    assert len(keys) == 2
    assert len({key[key.index(b"{") : key.index(b"}")] for key in keys}) == 1
    for key in keys:
        assert b"alice" not in key
        left = valkey.command("PTTL", key)
        assert isinstance(left, int)
        assert 0 < left <= 60_000


async def test_a_frozen_redis_delays_nobody_beyond_the_budget_and_then_nobody_at_all(
    own_valkey: Callable[[], LocalValkey],
) -> None:
    server = own_valkey()
    changes: list[bool] = []
    limits = await connected(parse_redis_url(server.url), changes.append)
    await check(limits, "alice", [TWO_PER_MINUTE])
    server.freeze()
    try:
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(RedisUnavailableError):
                await check(limits, "alice", [TWO_PER_MINUTE])
        assert limits._connection is not None
        sent = limits._connection._sent
        with pytest.raises(RedisUnavailableError):
            await check(limits, "alice", [TWO_PER_MINUTE])
        assert limits._connection._sent == sent
        assert changes == [True, False]
    finally:
        server.thaw()
        await limits.close()


async def test_a_turn_that_fails_counts_once_however_many_its_requests() -> None:
    unreachable = RedisLimits(RedisServer("127.0.0.1", 1), lambda _available: None, RevocationMemory(3600, 10))
    checks = [check(unreachable, f"user-{number}", [TWO_PER_MINUTE]) for number in range(2 * FAILURES_TO_OPEN)]
    assert {type(result) for result in await asyncio.gather(*checks, return_exceptions=True)} == {RedisUnavailableError}
    assert unreachable._breaker.failures == 1


async def test_a_connection_that_answers_no_more_is_replaced_before_the_breaker_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scripted_redis() as redis:
        limits = await connected(redis.server)
        monkeypatch.setattr("gateway.limits.redis_connection.SILENT_SECONDS", 0.0)
        redis.answer = lambda _words: b""
        with pytest.raises(RedisUnavailableError):
            await check(limits, "alice", [TWO_PER_MINUTE])
        silent = limits._connection
        assert silent is not None
        await until(lambda: silent.closed)
        monkeypatch.undo()
        redis.answer = everyone_is_within_the_limits
        await limits._connected()
        assert (await check(limits, "alice", [TWO_PER_MINUTE]))[0].allowed
        await limits.close()


async def test_answers_that_always_come_too_late_open_the_breaker() -> None:
    async with scripted_redis() as redis:
        limits = await connected(redis.server)
        redis.answer = lambda _words: b""
        for _ in range(FAILURES_TO_OPEN):
            with pytest.raises(RedisUnavailableError):
                await check(limits, "alice", [TWO_PER_MINUTE])
            redis.say(b"*5\r\n:0\r\n:1\r\n:1\r\n:60\r\n:0\r\n")
        sent = len(redis.commands)
        with pytest.raises(RedisUnavailableError):
            await check(limits, "alice", [TWO_PER_MINUTE])
        assert len(redis.commands) == sent
        await limits.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"*0\r\n",
        b"*1\r\n:0\r\n",
        b"*4\r\n:0\r\n:1\r\n:1\r\n:60\r\n",
        b"*6\r\n:0\r\n:1\r\n:1\r\n:60\r\n:0\r\n:0\r\n",
        b"*5\r\n:0\r\n:1\r\n:1\r\n:60\r\n$1\r\n0\r\n",
        b"*5\r\n:0\r\n:1\r\n:1\r\n:60\r\n*-1\r\n",
        b"*5\r\n:0\r\n:1\r\n:1\r\n:60\r\n-ERR x\r\n",
        b"*5\r\n:3\r\n:1\r\n:1\r\n:60\r\n:0\r\n",
        b"*1\r\n:1\r\n",
        b"*2\r\n:1\r\n$1\r\nx\r\n",
        b"*2\r\n:2\r\n:0\r\n",
        b"+OK\r\n",
        b":0\r\n",
        b"$-1\r\n",
        b"-OOM command not allowed\r\n",
    ],
)
async def test_a_reply_of_another_form_is_a_redis_that_fails(reply: bytes) -> None:
    async with scripted_redis() as redis:
        limits = await connected(redis.server)
        redis.answer = lambda _words: reply
        with pytest.raises(RedisUnavailableError):
            await check(limits, "alice", [TWO_PER_MINUTE])
        redis.answer = everyone_is_within_the_limits
        assert (await check(limits, "alice", [TWO_PER_MINUTE]))[0].allowed
        await limits.close()


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+one reply too many\r\n"])
async def test_a_connection_that_says_what_nobody_waits_for_is_closed(said: bytes) -> None:
    async with scripted_redis() as redis:
        limits = await connected(redis.server)
        connection = limits._connection
        assert connection is not None
        redis.say(said)
        await until(lambda: connection.closed)
        assert (await check(limits, "alice", [TWO_PER_MINUTE]))[0].allowed
        await limits.close()


async def test_each_reason_why_redis_is_unavailable_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.limits")
    async with scripted_redis() as redis:
        limits = RedisLimits(redis.server, lambda _available: None, RevocationMemory(3600, 10))
        redis.answer = lambda _words: HELLO.replace(b"$6\r\nmaster", b"$7\r\nreplica")
        for _ in range(3):
            await limits._probe()
        redis.answer = everyone_is_within_the_limits
        for _ in range(3):
            await limits._probe()
        await limits.close()
    logged = [(record.message, getattr(record, "fields", {}).get("reason", "")) for record in caplog.records]
    assert logged == [
        ("Redis unavailable", "it is a replica, which takes no writes; name the primary"),
        ("Redis available", ""),
    ]
