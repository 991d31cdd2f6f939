"""A gateway that was stopped reads what came meanwhile before its time limits judge it."""

import asyncio

import httpx
from gateway_harness import Provider, until
from gateway_process import Process, Serve
from scripted_redis import everyone_is_within_the_limits, scripted_redis

from devtools.testing.servers import Reply, Request, ScriptedServer, reply
from devtools.testing.tokens import Signer

REQUESTS = 40
TIMEOUT = 0.5
"""Of the upstream; what waits for Redis has less, and a request waits for a key for 1 s."""
STOPPED_SECONDS = 1.2


async def test_what_the_upstream_answered_while_the_gateway_was_frozen_is_answered(
    serve: Serve, provider: Provider, upstream: ScriptedServer
) -> None:
    frozen = asyncio.Event()
    async with serve(upstream_timeout=TIMEOUT) as process:

        async def answered_once_frozen(_request: Request) -> Reply:
            if len(upstream.requests) == REQUESTS:
                process.freeze()
                frozen.set()
            await frozen.wait()
            return reply(b"[]")

        upstream.answer = answered_once_frozen
        responses = await responses_of(process, provider, REQUESTS, frozen)
    assert [response.status_code for response in responses] == [200] * REQUESTS
    assert len(upstream.requests) == REQUESTS


async def test_what_redis_answered_while_the_gateway_was_frozen_counts(serve: Serve, provider: Provider) -> None:
    frozen = asyncio.Event()
    async with scripted_redis() as redis:
        url = f"redis://127.0.0.1:{redis.port}"
        async with serve(redis_url=url, on_redis_failure="closed", rate_limits="user=600/60s") as process:
            await until(lambda: any(words[0] == b"EVALSHA" for words in redis.commands))

            def freeze_and_answer(words: list[bytes]) -> bytes:
                if words[0] == b"EVALSHA" and not frozen.is_set():
                    process.freeze()
                    frozen.set()
                return everyone_is_within_the_limits(words)

            redis.answer = freeze_and_answer
            [response] = await responses_of(process, provider, 1, frozen)
    assert response.status_code == 200


async def test_a_key_that_the_provider_sent_while_the_gateway_was_frozen_is_used(
    serve: Serve, provider: Provider
) -> None:
    frozen = asyncio.Event()
    async with serve() as process:

        def freeze_and_answer(request: Request) -> Reply:
            if request.target == "/jwks" and not frozen.is_set():
                process.freeze()
                frozen.set()
            return provider.answer(request)

        provider.server.answer = freeze_and_answer
        provider.signer = Signer(kid="new")
        provider.jwks = {"keys": [provider.signer.jwk()]}
        [response] = await responses_of(process, provider, 1, frozen)
    assert response.status_code == 200


async def responses_of(process: Process, provider: Provider, count: int, frozen: asyncio.Event) -> list[httpx.Response]:
    """The responses to requests during which the process is frozen, and goes on when all time limits have passed."""
    headers = {"Authorization": f"Bearer {provider.token()}"}
    async with httpx.AsyncClient(trust_env=False, base_url=process.url, headers=headers, timeout=30) as client:
        requests = [asyncio.ensure_future(client.get("/v1/todos")) for _ in range(count)]
        await frozen.wait()
        await asyncio.sleep(STOPPED_SECONDS)
        process.thaw()
        return await asyncio.gather(*requests)
