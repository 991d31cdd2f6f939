"""No user can take the gateway's places and buffer from the others."""

import asyncio
import contextlib

import pytest
from gateway_harness import Provider, StartGateway, until
from hogs import MUCH, SMALL, authorized, slow_readers, stalled_uploads

from devtools.testing.servers import Reply, Request, ScriptedServer, reply
from runtime import shares


async def test_stalled_uploads_of_one_user_leave_the_buffer_to_others(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with (
        start_gateway(max_body_bytes=2_000, max_buffered_bytes=80_000) as gateway,
        stalled_uploads(gateway, provider, ["hog"] * 29, 5_000, "/v1/import") as hogs,
    ):
        await until(lambda: gateway.metric("gateway_buffered_bytes") > 5_000)
        answer = await gateway.client.post("/v1/import", headers=authorized(provider, "bob"), content=b"x" * 10_000)
        assert answer.status_code == 200
        assert gateway.metric("gateway_buffered_bytes") <= 10_000
        await until(lambda: gateway.metric("gateway_share_refusals_total", policy="user-buffer") == 27)
        first, _ = await asyncio.wait([asyncio.create_task(hog.read()) for hog in hogs], return_when="FIRST_COMPLETED")
        refusal = first.pop().result()
        assert refusal.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 1\r\n" in refusal
        assert b'"violated-policies": ["user-buffer"]' in refusal


async def test_stalled_uploads_of_twenty_users_leave_the_buffer_to_another(
    start_gateway: StartGateway, provider: Provider
) -> None:
    hogs = [f"hog-{number % 20}" for number in range(60)]
    async with (
        start_gateway(max_body_bytes=2_000, max_buffered_bytes=100_000) as gateway,
        stalled_uploads(gateway, provider, hogs, 3_000, "/v1/import"),
    ):
        await until(lambda: gateway.metric("gateway_buffered_bytes") >= 20 * 2_999)
        answer = await gateway.client.post("/v1/import", headers=authorized(provider, "bob"), content=b"x" * 3_000)
        assert answer.status_code == 200


async def test_the_stalled_upload_of_who_holds_most_ends_for_a_body_within_its_users_part(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            start_gateway(max_body_bytes=8_000, max_buffered_bytes=80_000, max_buffered_bytes_per_user=40_000)
        )
        readers = []
        held = 0
        for user, size in (("most", 39_000), ("more", 30_000), ("some", 8_000)):
            readers += await stack.enter_async_context(stalled_uploads(gateway, provider, [user], size, "/v1/import"))
            held += size - 1
            await until(lambda held=held: gateway.metric("gateway_buffered_bytes") == held)  # type: ignore[misc]
        answer = await gateway.client.post("/v1/todos", headers=authorized(provider, "bob"), content=b"x" * 8_000)
        assert answer.status_code == 200
        assert (await readers[0].readline()).startswith(b"HTTP/1.1 408 ")
        assert gateway.metric("gateway_buffered_bytes") == 29_999 + 7_999
        assert gateway.metric("gateway_idle_clients_ended_total", policy="user-buffer") == 1
        assert gateway.metric("gateway_share_refusals_total", policy="user-buffer") == 0


async def test_a_slow_reader_of_who_holds_most_ends_for_a_request_within_its_users_part(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda request: reply(b"x" * MUCH if request.target == "/v1/export" else b"{}")
    async with (
        start_gateway(max_in_flight=4, max_in_flight_per_user=2, send_buffer=SMALL) as gateway,
        slow_readers(gateway, provider, ["most", "most", "other", "another"]),
    ):
        await until(lambda: gateway.metric("gateway_in_flight_requests") == 4)
        answer = await gateway.client.get("/v1/todos", headers=authorized(provider, "bob"))
        assert answer.status_code == 200
        assert gateway.metric("gateway_in_flight_requests") == 3
        assert gateway.metric("gateway_idle_clients_ended_total", policy="user-requests") == 1


async def test_a_client_that_leaves_while_it_waits_for_a_place_waits_no_more(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "PATIENCE", 3600)
    release = asyncio.Event()

    async def held(_request: Request) -> Reply:
        await release.wait()
        return reply(b"{}")

    upstream.answer = held
    async with start_gateway(max_in_flight=1, max_in_flight_per_user=1) as gateway:
        first = asyncio.create_task(gateway.client.get("/v1/todos", headers=authorized(provider, "a")))
        await upstream.wait_for_requests(1)
        second = asyncio.create_task(gateway.client.get("/v1/todos", headers=authorized(provider, "b")))
        await until(lambda: gateway.metric("gateway_users_waiting", policy="user-requests") == 1)
        second.cancel()
        await until(lambda: gateway.metric("gateway_users_waiting", policy="user-requests") == 0)
        release.set()
        assert (await first).status_code == 200
        assert len(upstream.requests) == 1


async def test_the_wait_for_a_place_is_no_overhead_of_the_gateway(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    release = asyncio.Event()

    async def held(_request: Request) -> Reply:
        await release.wait()
        return reply(b"{}")

    upstream.answer = held
    async with start_gateway(max_in_flight=8) as gateway:
        first = asyncio.create_task(gateway.client.get("/v1/todos", headers=authorized(provider, "a")))
        await upstream.wait_for_requests(1)
        second = asyncio.create_task(gateway.client.get("/v1/todos", headers=authorized(provider, "a")))
        await until(lambda: gateway.metric("gateway_users_at_share", policy="user-requests") == 1)
        assert (await second).status_code == 429
        duration = gateway.metric("gateway_request_duration_seconds_sum", route="/v1/todos")
        assert duration - gateway.metric("gateway_overhead_seconds_sum") >= shares.WAIT_SECONDS - 0.01
        release.set()
        assert (await first).status_code == 200


async def test_what_one_user_has_under_way_leaves_places_to_others(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    release = asyncio.Event()

    async def held(request: Request) -> Reply:
        if request.target == "/v1/export":
            await release.wait()
        return reply(b"{}")

    upstream.answer = held
    async with start_gateway(max_in_flight=16) as gateway:
        exports = [
            asyncio.create_task(gateway.client.get("/v1/export", headers=authorized(provider, "hog"))) for _ in range(4)
        ]
        await upstream.wait_for_requests(2)
        answer = await gateway.client.get("/v1/todos", headers=authorized(provider, "bob"))
        assert answer.status_code == 200
        await until(lambda: gateway.metric("gateway_share_refusals_total", policy="user-requests") == 2)
        release.set()
        answers = [await export for export in exports]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
        assert all(answer.json()["violated-policies"] == ["user-requests"] for answer in refused)
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert gateway.metric("gateway_in_flight_requests") == 0


async def test_a_request_without_a_good_token_takes_nothing_that_is_shared(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with (
        start_gateway(max_body_bytes=2_000, max_buffered_bytes=80_000) as gateway,
        stalled_uploads(gateway, provider, ["", ""], 5_000) as readers,
    ):
        for reader in readers:
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        assert gateway.metric("gateway_buffered_bytes") == 0
