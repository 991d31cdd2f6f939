"""No user can take the gateway's places and buffer from the others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway_harness import Provider, Running, StartGateway, until

from devtools.testing.servers import Reply, Request, ScriptedServer, reply


def authorized(provider: Provider, user: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.token(sub=user)}"}


@contextlib.asynccontextmanager
async def stalled_uploads(
    gateway: Running, provider: Provider, users: list[str], size: int
) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Uploads of which all but the last byte has been sent."""
    connections = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in users]
    try:
        for user, (_, writer) in zip(users, connections, strict=True):
            token = provider.token(sub=user)
            head = (
                f"POST /v1/todos HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {size}\r\n\r\n"
            )
            writer.write(head.encode() + b"x" * (size - 1))
        yield [reader for reader, _ in connections]
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def test_stalled_uploads_of_one_user_leave_the_buffer_to_others(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with (
        start_gateway(max_buffered_bytes=80_000) as gateway,
        stalled_uploads(gateway, provider, ["hog"] * 29, 5_000) as hogs,
    ):
        await until(lambda: gateway.metric("gateway_buffered_bytes") > 5_000)
        answer = await gateway.client.post("/v1/todos", headers=authorized(provider, "bob"), content=b"x" * 10_000)
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
        start_gateway(max_buffered_bytes=100_000) as gateway,
        stalled_uploads(gateway, provider, hogs, 3_000),
    ):
        await until(lambda: gateway.metric("gateway_buffered_bytes") >= 20 * 2_999)
        answer = await gateway.client.post("/v1/todos", headers=authorized(provider, "bob"), content=b"x" * 3_000)
        assert answer.status_code == 200


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
        start_gateway(max_buffered_bytes=80_000) as gateway,
        stalled_uploads(gateway, provider, ["", ""], 5_000) as readers,
    ):
        for reader in readers:
            assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        assert gateway.metric("gateway_buffered_bytes") == 0
