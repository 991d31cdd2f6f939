"""A revoked token is dead on every gateway with the next request."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gateway_harness import Provider, Running, StartGateway, settings_of, until

from devtools.testing.servers import ScriptedServer
from devtools.valkey import LocalValkey
from gateway.limits.redis_command import CheckResult, revocation_keys
from gateway.limits.redis_url import parse_redis_url
from gateway.limits.revocation import Revocation, RevocationMemory
from gateway.limits.revocation import revoke as write_revocation
from gateway.token.claims import LEEWAY_SECONDS, Bearer

GATEWAY = str(Path(sys.executable).with_name("gateway"))


async def answer(gateway: Running, token: str) -> tuple[int, str]:
    response = await gateway.client.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
    if response.status_code == 401:
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
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
    async with start_gateway(redis_url=valkey.url) as one, start_gateway(redis_url=valkey.url) as other:
        for gateway in (one, other):
            await sharing(gateway)
            assert await answer(gateway, old) == (200, "")
        ended = await revoke(provider, upstream, "--sub", "alice", redis_url=valkey.url)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert "every token of the user issued until" in ended.stdout
        later = provider.token(iat=int(time.time()) + 1)
        for gateway in (one, other):
            assert await answer(gateway, old) == (401, "revoked")
            assert await answer(gateway, without_iat) == (401, "revoked")
            assert await answer(gateway, later) == (200, "")
            assert await answer(gateway, others) == (200, "")
            assert gateway.metric("gateway_auth_failures_total", reason="revoked") == 2


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
    memory = RevocationMemory(3600, clock=lambda: now)
    of_user, of_token = Bearer("alice", 0, issued=50), Bearer("bob", 0, issued=50, token_id="t-1")
    memory.learn(of_user, CheckResult(60, token_revoked=False, verdicts=[]))
    memory.learn(of_token, CheckResult(None, token_revoked=True, verdicts=[]))
    now += 3600 + LEEWAY_SECONDS - 1
    assert [memory.holds(bearer) for bearer in (of_user, of_token)] == [True, True]
    now += 1
    assert [memory.holds(bearer) for bearer in (of_user, of_token)] == [False, False]


async def test_a_revocation_outlives_every_token_it_ends_and_is_never_moved_back(
    provider: Provider, upstream: ScriptedServer, valkey: LocalValkey
) -> None:
    for until_second in (1000, 900):
        await write_revocation(parse_redis_url(valkey.url), Revocation("alice", None, until_second), 3600)
    [key] = revocation_keys("alice", None)
    assert valkey.command("GET", key) == b"1000"
    assert valkey.command("TTL", key) in range(3600, 3611)


async def test_revoking_says_what_it_lacks(provider: Provider, upstream: ScriptedServer) -> None:
    ended = await revoke(provider, upstream, "--sub", "alice")
    assert (ended.returncode, ended.stderr) == (2, "GATEWAY_REDIS_URL: is required\n")
    ended = await revoke(provider, upstream, "--sub", "alice", redis_url="redis://:secret@127.0.0.1:1")
    assert (ended.returncode, ended.stderr) == (1, "not revoked: Redis at 127.0.0.1:1: connection refused\n")
    ended = await revoke(provider, upstream, "--sub", "a", "--issuer", "https://x", redis_url="redis://127.0.0.1:1")
    assert (ended.returncode, ended.stderr) == (2, f"--issuer must name one of: {provider.issuer}\n")
