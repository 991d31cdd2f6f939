"""Redis killed, frozen, slow, read-only, full, emptied: nobody waits beyond the budget, and the setting decides."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from gateway_harness import Provider, Running, StartGateway, until
from redis_tls import self_signed, tls_in_front_of

from devtools.valkey import LocalValkey
from gateway.limits import redis_connection, redis_limits

type Trouble = Callable[[LocalValkey], object]


def slow(server: LocalValkey) -> None:
    server.command("CLIENT", "PAUSE", "60000", "ALL")


def read_only(server: LocalValkey) -> None:
    server.command("REPLICAOF", "127.0.0.1", "1")


def full(server: LocalValkey) -> None:
    server.command("CONFIG", "SET", "maxmemory", "1")


TROUBLES = [LocalValkey.kill, LocalValkey.freeze, slow, read_only, full]


@pytest.fixture
def server(own_valkey: Callable[[], LocalValkey]) -> LocalValkey:
    return own_valkey()


async def statuses(gateway: Running, provider: Provider, count: int) -> list[int]:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    return [(await gateway.client.get("/v1/todos", headers=headers)).status_code for _ in range(count)]


async def sharing(gateway: Running) -> None:
    await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize(("setting", "status"), [("local", 200), ("open", 200), ("closed", 503)])
async def test_no_trouble_of_redis_decides_anything_but_what_the_setting_says(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey, trouble: Trouble, setting: str, status: int
) -> None:
    async with start_gateway(redis_url=server.url, on_redis_failure=setting) as gateway:
        await sharing(gateway)
        assert await statuses(gateway, provider, 1) == [200]
        trouble(server)
        assert set(await statuses(gateway, provider, 10)) == {status}
        assert gateway.metric("gateway_ratelimit_degraded") == 1
    server.thaw()


async def test_a_request_waits_for_redis_no_longer_than_the_budget(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the budget is the only way out: where it is taken away, the request waits
    async with start_gateway(redis_url=server.url) as gateway:
        await sharing(gateway)
        monkeypatch.setattr(redis_connection, "SILENT_SECONDS", 3600.0)
        server.freeze()
        assert await statuses(gateway, provider, 3) == [200, 200, 200]
        monkeypatch.setattr(redis_limits, "BUDGET_SECONDS", 3600.0)
        waiting = asyncio.create_task(statuses(gateway, provider, 1))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        server.thaw()
        assert await waiting == [200]


async def test_an_emptied_or_restarted_redis_is_used_again_at_once(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey
) -> None:
    async with start_gateway(redis_url=server.url, rate_limits="user=2/3600s") as gateway:
        await sharing(gateway)
        assert await statuses(gateway, provider, 2) == [200, 200]
        server.flush()
        assert await statuses(gateway, provider, 3) == [200, 200, 429]
        assert gateway.metric("gateway_ratelimit_degraded") == 0


async def test_a_restart_between_two_requests_costs_at_most_the_sharing_of_one(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey
) -> None:
    async with start_gateway(redis_url=server.url) as gateway:
        await sharing(gateway)
        assert await statuses(gateway, provider, 1) == [200]
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert await statuses(gateway, provider, 3) == [200, 200, 200]
        await sharing(gateway)


async def test_redis_is_reached_over_tls_and_its_certificate_is_checked(
    start_gateway: StartGateway, provider: Provider, valkey: LocalValkey, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path)
    async with tls_in_front_of(valkey, certificate) as port:
        parts = urlsplit(valkey.url)
        secured = parts._replace(scheme="rediss", netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}")
        trusting = urlunsplit(secured._replace(query=f"ssl_ca_certs={certificate}"))
        async with start_gateway(redis_url=trusting, rate_limits="user=1/3600s") as gateway:
            await sharing(gateway)
            assert await statuses(gateway, provider, 2) == [200, 429]
        async with start_gateway(redis_url=urlunsplit(secured), rate_limits="user=600/60s") as gateway:
            assert await statuses(gateway, provider, 2) == [200, 200]
            assert gateway.metric("gateway_ratelimit_degraded") == 1
