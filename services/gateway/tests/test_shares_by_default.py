"""With the default limits, whoever takes all it can leaves enough to everybody else."""

import asyncio

import httpx
import pytest
from gateway_harness import Provider, Running, StartGateway, until
from hogs import MUCH, SMALL, authorized, slow_readers, stalled_uploads

from devtools.testing.servers import ScriptedServer, reply

MIB = 1 << 20
OTHERS = [f"other-{number}" for number in range(10)]


async def writes_of_others(gateway: Running, provider: Provider) -> list[httpx.Response]:
    posts = [
        gateway.client.post("/v1/todos", headers=authorized(provider, user), content=b"x" * 10_000)
        for user in OTHERS
        for _ in range(3)
    ]
    largest = gateway.client.post("/v1/import", headers=authorized(provider, "importer"), content=b"x" * 5 * MIB)
    return await asyncio.gather(largest, *posts)


async def reads_of_others(gateway: Running, provider: Provider) -> list[httpx.Response]:
    return await asyncio.gather(
        *(gateway.client.get("/v1/todos", headers=authorized(provider, user)) for user in OTHERS for _ in range(3))
    )


@pytest.mark.parametrize(
    ("hogs", "least", "most"),
    [
        pytest.param(["hog"] * 29, 15 * MIB, 16 * MIB, id="29 of one user"),
        pytest.param([f"hog-{number % 20}" for number in range(160)], 110 * MIB, 128 * MIB, id="160 of twenty users"),
    ],
)
async def test_no_write_beside_stalled_uploads_is_refused(
    start_gateway: StartGateway, provider: Provider, hogs: list[str], least: int, most: int
) -> None:
    async with start_gateway() as gateway, stalled_uploads(gateway, provider, hogs, MIB):
        await until(lambda: gateway.metric("gateway_buffered_bytes") > least)
        assert [answer.status_code for answer in await writes_of_others(gateway, provider)] == [200] * 31
        assert gateway.metric("gateway_buffered_bytes") <= most


@pytest.mark.parametrize(
    ("hogs", "least"),
    [
        pytest.param(["hog"] * 512, 64, id="512 of one user"),
        pytest.param([f"hog-{number % 20}" for number in range(560)], 480, id="560 of twenty users"),
    ],
)
async def test_no_read_beside_slow_readers_is_refused(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, hogs: list[str], least: int
) -> None:
    much = reply(b"x" * MUCH)
    upstream.answer = lambda request: much if request.target == "/v1/export" else reply(b"{}")
    async with start_gateway(send_buffer=SMALL) as gateway, slow_readers(gateway, provider, hogs):
        await until(lambda: gateway.metric("gateway_in_flight_requests") >= least)
        assert [answer.status_code for answer in await reads_of_others(gateway, provider)] == [200] * 30
        assert gateway.metric("gateway_in_flight_requests") >= least
