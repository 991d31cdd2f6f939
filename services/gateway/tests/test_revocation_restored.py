"""Revocations that a gateway remembers are written back to a Redis that lost its data."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from gateway_harness import Provider, Running, StartGateway, until
from scripted_redis import everyone_is_within_the_limits, scripted_redis

from devtools.valkey import LocalValkey
from gateway.limits import redis_limits
from gateway.limits.redis_command import CheckResult, revocation_keys
from gateway.limits.redis_connection import RedisConnection, RedisError
from gateway.limits.redis_url import parse_redis_url
from gateway.limits.restoration import DATA_ID_KEY, PIECE, RevocationRestorer
from gateway.limits.revocation import Revocation, RevocationMemory, revoke
from gateway.token.claims import Bearer

USERS = 5 * PIECE


@pytest.fixture
async def connection(valkey: LocalValkey) -> AsyncIterator[RedisConnection]:
    opened = await RedisConnection.open(parse_redis_url(valkey.url))
    yield opened
    opened.close()


def knowing(*revocations: Revocation) -> RevocationMemory:
    memory = RevocationMemory(3600, 10)
    for one in revocations:
        result = CheckResult(None if one.token_id else one.until, token_revoked=one.token_id is not None, verdicts=[])
        memory.learn(Bearer(one.user_id, 0, token_id=one.token_id), result)
    return memory


async def status(gateway: Running, token: str) -> int:
    response = await gateway.client.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
    return response.status_code


async def sharing(gateway: Running) -> None:
    await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)


def restart(server: LocalValkey) -> None:
    server.kill()
    server.start()


def flush(server: LocalValkey) -> None:
    server.command("FLUSHALL")


@pytest.mark.parametrize("lose", [restart, flush])
async def test_a_gateway_that_never_saw_a_revocation_refuses_it_though_redis_lost_it(
    start_gateway: StartGateway,
    provider: Provider,
    own_valkey: Callable[[], LocalValkey],
    monkeypatch: pytest.MonkeyPatch,
    lose: Callable[[LocalValkey], None],
) -> None:
    monkeypatch.setattr(redis_limits, "PROBE_SECONDS", 0.02)
    server = own_valkey()
    revocations = [Revocation("alice", None, int(time.time())), Revocation("bob", "t-1", 0)]
    tokens = [provider.token(iat=int(time.time()) - 60), provider.token(sub="bob", jti="t-1")]
    keys = [revocation_keys(one.user_id, one.token_id)[-1] for one in revocations]
    async with start_gateway(redis_url=server.url) as remembering:
        await sharing(remembering)
        for one in revocations:
            await revoke(parse_redis_url(server.url), one)
        assert [await status(remembering, token) for token in tokens] == [401, 401]
        await asyncio.to_thread(lose, server)
        await until(lambda: server.command("EXISTS", *keys) == 2)
        async with start_gateway(redis_url=server.url) as other:
            await sharing(other)
            assert [await status(other, token) for token in tokens] == [401, 401]
            assert await status(other, provider.token(sub="carol")) == 200
        assert [server.command("TTL", key) for key in keys] == [-1, -1]


async def test_every_gateway_writes_what_it_alone_remembers(valkey: LocalValkey) -> None:
    server = parse_redis_url(valkey.url)
    known = [Revocation("alice", None, 1000), Revocation("bob", None, 2000)]
    gateways = [(await RedisConnection.open(server), RevocationRestorer(knowing(one))) for one in known]
    for lost in (False, True):
        if lost:
            valkey.flush()
        for connection, restorer in gateways:
            await restorer.restore(connection)
        keys = [revocation_keys(one.user_id, None)[0] for one in known]
        assert [valkey.command("GET", key) for key in keys] == [b"1000", b"2000"]
    for connection, _ in gateways:
        connection.close()


async def test_a_later_revocation_is_never_replaced_by_the_one_remembered(
    valkey: LocalValkey, connection: RedisConnection
) -> None:
    [key] = revocation_keys("alice", None)
    valkey.command("SET", key, 2000)
    await RevocationRestorer(knowing(Revocation("alice", None, 1000))).restore(connection)
    assert valkey.command("GET", key) == b"2000"


async def test_much_is_written_in_pieces_between_which_requests_are_answered(
    valkey: LocalValkey, connection: RedisConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    send = connection.send

    def counting(commands: bytes, replies: Sequence[asyncio.Future[object]]) -> int:
        assert connection.answered(connection._sent)
        sizes.append(len(replies))
        return send(commands, replies)

    monkeypatch.setattr(connection, "send", counting)
    memory = knowing(*(Revocation(f"user-{number}", None, 1000) for number in range(USERS)))
    await RevocationRestorer(memory).restore(connection)
    assert sizes == [1, *[PIECE] * 5]
    assert valkey.command("DBSIZE") == USERS + 1


async def test_what_was_written_is_not_written_again_while_the_data_are_the_same(connection: RedisConnection) -> None:
    restorer = RevocationRestorer(knowing(Revocation("alice", None, 1000)))
    await restorer.restore(connection)
    sent = connection._sent
    await restorer.restore(connection)
    assert connection._sent == sent + 1


async def test_a_new_connection_may_lead_to_older_data_and_is_written_to(valkey: LocalValkey) -> None:
    restorer = RevocationRestorer(knowing(Revocation("alice", None, 1000)))
    [key] = revocation_keys("alice", None)
    for _ in range(2):
        connection = await RedisConnection.open(parse_redis_url(valkey.url))
        await restorer.restore(connection)
        assert valkey.command("GET", key) == b"1000"
        valkey.command("DEL", key)
        connection.close()
    assert valkey.command("EXISTS", DATA_ID_KEY) == 1


async def test_a_refused_revocation_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    restorer = RevocationRestorer(knowing(Revocation("alice", None, 1000)))
    async with scripted_redis() as redis:
        connection = await RedisConnection.open(redis.server)
        refusing = {b"EVAL": b"-OOM command not allowed\r\n"}
        redis.answer = lambda words: refusing.get(words[0]) or everyone_is_within_the_limits(words)
        with pytest.raises(RedisError, match=r"^it refuses the revocation with OOM$"):
            await restorer.restore(connection)
        assert [record.message for record in caplog.records] == ["revocations not written back"]
        refusing.clear()
        await restorer.restore(connection)
        assert [words[0] for words in redis.commands[-2:]] == [b"SET", b"EVAL"]
        connection.close()
