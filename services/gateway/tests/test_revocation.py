"""A revoked token is dead on every gateway with the next request."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gateway_harness import MovingClock, Provider, Running, StartGateway, settings_of, until

from devtools.testing.servers import ScriptedServer
from devtools.valkey import LocalValkey
from gateway.limits.redis_command import CheckResult, revocation_keys
from gateway.limits.redis_url import parse_redis_url
from gateway.limits.revocation import Revocation, RevocationMemory
from gateway.limits.revocation import revoke as write_revocation
from gateway.token.claims import Bearer

GATEWAY = str(Path(sys.executable).with_name("gateway"))


async def answer(gateway: Running, token: str) -> tuple[int, str]:
    response = await gateway.client.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
    if response.status_code == 401:
        assert response.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
    return response.status_code, response.json().get("code", "")


async def revoke(
    provider: Provider, upstream: ScriptedServer, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | settings_of(provider, upstream, **settings)
    command = [GATEWAY, "revoke", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, check=False, text=True, timeout=30
    )


async def sharing(gateway: Running) -> None:
    await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)


async def test_revoking_a_user_ends_what_was_issued_until_then_on_every_gateway(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, valkey: LocalValkey
) -> None:
    now = int(time.time())
    old, without_iat = provider.token(iat=now - 60), provider.token(iat=None)
    others = provider.token(sub="bob", iat=now - 60)
    clock = MovingClock()
    changes = {"redis_url": valkey.url, "clock": clock.clock}
    async with start_gateway(**changes) as one, start_gateway(**changes) as other:
        for gateway in (one, other):
            await sharing(gateway)
            assert await answer(gateway, old) == (200, "")
        ended = await revoke(provider, upstream, "--sub", "alice", redis_url=valkey.url)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "every token of the user issued until" in ended.stdout
        clock.move(60)
        later = provider.token(iat=int(time.time()) + 20)
        for gateway in (one, other):
            assert await answer(gateway, old) == (401, "revoked")
            assert await answer(gateway, without_iat) == (401, "revoked")
            assert await answer(gateway, later) == (200, "")
            assert await answer(gateway, others) == (200, "")
            assert gateway.metric("gateway_auth_failures_total", reason="revoked") == 2


@pytest.mark.parametrize("leeway", [0, 300])
async def test_revoking_a_user_ends_what_was_issued_by_a_clock_that_is_ahead(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, valkey: LocalValkey, leeway: int
) -> None:
    """RFC 7519 section 4.1.6: `iat` is the provider's time, which may be ahead of ours by the leeway."""
    clock = MovingClock()
    async with start_gateway(redis_url=valkey.url, leeway=leeway, clock=clock.clock) as gateway:
        await sharing(gateway)
        token = provider.token(iat=int(clock.clock.wall()) + leeway)
        assert await answer(gateway, token) == (200, "")
        ended = await revoke(provider, upstream, "--sub", "alice", redis_url=valkey.url, leeway=str(leeway))
        assert ended.returncode == 0
        assert await answer(gateway, token) == (401, "revoked")
        clock.move(600)
        assert await answer(gateway, provider.token(iat=int(clock.clock.wall()) + leeway)) == (200, "")


async def test_revoking_a_user_ends_a_token_without_iat_that_becomes_acceptable_only_later(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, valkey: LocalValkey
) -> None:
    clock = MovingClock()
    async with start_gateway(redis_url=valkey.url, token_max_lifetime=3600, clock=clock.clock) as gateway:
        await sharing(gateway)
        token = provider.token(iat=None, exp=int(time.time()) + 24 * 3600)
        assert await answer(gateway, token) == (401, "invalid_token")
        await revoke(provider, upstream, "--sub", "alice", redis_url=valkey.url)
        clock.move(23.5 * 3600)
        assert await answer(gateway, token) == (401, "revoked")
        others = provider.token(sub="bob", iat=None, exp=int(time.time()) + 24 * 3600)
        assert await answer(gateway, others) == (200, "")


async def test_any_user_can_be_revoked_by_the_name_that_tokens_give(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, valkey: LocalValkey
) -> None:
    issuers = json.dumps(
        [{"issuer": provider.issuer, "audience": "todos", "user_prefix": "one|", "names": ["https://old.example"]}]
    )
    settings = {"redis_url": valkey.url, "issuer": "", "audience": "", "issuers": issuers}
    async with start_gateway(**settings) as gateway:
        await sharing(gateway)
        token, others = provider.token(sub="Ünal Öz"), provider.token(sub="U\u0308nal O\u0308z")
        assert [await answer(gateway, one) for one in (token, others)] == [(200, ""), (200, "")]
        ended = await revoke(provider, upstream, "--sub", "Ünal Öz", "--issuer", "https://old.example", **settings)
        assert ended.returncode == 0, ended.stderr
        assert [await answer(gateway, one) for one in (token, others)] == [(401, "revoked"), (200, "")]
        ended = await revoke(provider, upstream, "--sub", "é" * 128, **settings)
        assert (ended.returncode, ended.stderr) == (2, "--sub: is not 1 to 255 bytes of UTF-8\n")


async def test_revoking_one_token_leaves_the_users_others(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, valkey: LocalValkey
) -> None:
    async with start_gateway(redis_url=valkey.url) as gateway:
        await sharing(gateway)
        ended = await revoke(provider, upstream, "--sub", "alice", "--jti", "t-1", redis_url=valkey.url)
        assert (ended.returncode, ended.stdout) == (0, "revoked: this token of the user\n")
        assert await answer(gateway, provider.token(jti="t-1")) == (401, "revoked")
        assert await answer(gateway, provider.token(jti="t-2")) == (200, "")
        assert await answer(gateway, provider.token()) == (200, "")
        assert await answer(gateway, provider.token(sub="bob", jti="t-1")) == (200, "")


@pytest.mark.parametrize("policies", ["user=600/60s", "auth-failure=30/60s"])
async def test_what_a_gateway_has_seen_revoked_it_remembers_without_redis(
    start_gateway: StartGateway,
    provider: Provider,
    upstream: ScriptedServer,
    own_valkey: Callable[[], LocalValkey],
    policies: str,
) -> None:
    server = own_valkey()
    async with start_gateway(redis_url=server.url, rate_limits=policies) as gateway:
        await sharing(gateway)
        await revoke(provider, upstream, "--sub", "alice", redis_url=server.url)
        await revoke(provider, upstream, "--sub", "bob", "--jti", "t-1", redis_url=server.url)
        seen = [provider.token(iat=int(time.time()) - 60), provider.token(sub="bob", jti="t-1")]
        for token in seen:
            assert await answer(gateway, token) == (401, "revoked")
        server.kill()
        for token in seen:
            assert await answer(gateway, token) == (401, "revoked")
        assert await answer(gateway, provider.token(sub="carol")) == (200, "")
        assert gateway.metric("gateway_revocations_unchecked_total") == 1


def test_a_revocation_is_remembered_for_as_long_as_its_token_could_have_lived_and_no_longer() -> None:
    now = 1000.0
    memory = RevocationMemory(3600, 10, clock=lambda: now)
    of_user, of_token = Bearer("alice", 0, issued=50), Bearer("bob", 0, issued=50, token_id="t-1")
    memory.learn(of_user, CheckResult(60, token_revoked=False, verdicts=[]))
    memory.learn(of_token, CheckResult(None, token_revoked=True, verdicts=[]))
    now += 3600 + 2 * 10
    assert [memory.holds(bearer) for bearer in (of_user, of_token)] == [True, True]
    now += 1
    assert [memory.holds(bearer) for bearer in (of_user, of_token)] == [False, False]


async def test_a_revocation_is_kept_for_good_and_never_moved_back(valkey: LocalValkey) -> None:
    server = parse_redis_url(valkey.url)
    for until_second in (1000, 900):
        await write_revocation(server, Revocation("alice", None, until_second))
    await write_revocation(server, Revocation("alice", "t-1", 1000))
    of_user, of_token = revocation_keys("alice", "t-1")
    assert valkey.command("GET", of_user) == b"1000"
    assert [valkey.command("TTL", key) for key in (of_user, of_token)] == [-1, -1]


async def test_revoking_says_what_it_lacks(provider: Provider, upstream: ScriptedServer) -> None:
    ended = await revoke(provider, upstream, "--sub", "alice")
    assert (ended.returncode, ended.stderr) == (2, "GATEWAY_REDIS_URL: is required\n")
    ended = await revoke(provider, upstream, "--sub", "alice", redis_url="redis://:secret@127.0.0.1:1")
    assert (ended.returncode, ended.stderr) == (1, "not revoked: Redis at 127.0.0.1:1: connection refused\n")
    ended = await revoke(provider, upstream, "--sub", "a", "--issuer", "https://x", redis_url="redis://127.0.0.1:1")
    assert (ended.returncode, ended.stderr) == (2, f"--issuer must name one of: {provider.issuer}\n")
