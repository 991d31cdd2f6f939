"""Fixtures of the gateway's tests."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
from gateway_harness import Provider, Running, StartGateway, running_gateway, settings_of
from gateway_process import Process, Serve, gateway_process

from devtools.testing.servers import ScriptedServer, reply, scripted_server
from devtools.valkey import LocalValkey
from gateway.clock import SYSTEM, Clock
from gateway.limits.redis_limits import RedisLimits
from gateway.limits.redis_url import parse_redis_url
from gateway.limits.revocation import RevocationMemory


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with scripted_server(lambda _request: reply(status=500)) as server:
        made = Provider(server)
        server.answer = made.answer
        yield made


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedServer]:
    async with scripted_server(lambda _request: reply(b"{}", headers={"content-type": "application/json"})) as server:
        yield server


@pytest.fixture
def start_gateway(provider: Provider, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> StartGateway:
    """Starts gateways with settings over good ones: `async with start_gateway(redis_url=…) as running`."""

    @contextlib.asynccontextmanager
    async def start(
        *, wait_for_keys: bool = True, clock: Clock = SYSTEM, send_buffer: int | None = None, **changes: object
    ) -> AsyncIterator[Running]:
        for name, value in settings_of(provider, upstream, **changes).items():
            monkeypatch.setenv(name, value)
        async with running_gateway(wait_for_keys=wait_for_keys, clock=clock, send_buffer=send_buffer) as running:
            yield running

    return start


@pytest.fixture
def serve(provider: Provider, upstream: ScriptedServer) -> Serve:
    """Runs gateways as processes with settings over good ones: `async with serve(redis_url=…) as process`."""

    def start(**changes: object) -> AbstractAsyncContextManager[Process]:
        settings = {"host": "127.0.0.1", "port": 0, "admin_port": 0, "drain_seconds": 0, **changes}
        return gateway_process(settings_of(provider, upstream, **settings))

    return start


@pytest.fixture
async def redis_limits(valkey: LocalValkey) -> AsyncIterator[RedisLimits]:
    """Limits in the shared Valkey; connected, as the first request would connect within its budget."""
    limits = RedisLimits(parse_redis_url(valkey.url), lambda _available: None, RevocationMemory(3600, 10))
    await limits._probe()
    yield limits
    await limits.close()


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> AsyncIterator[Running]:
    async with start_gateway() as running:
        yield running
