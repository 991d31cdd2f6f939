"""The provider's outages are not the users'; over real sockets, with a clock the test moves."""

import asyncio

from gateway_harness import MovingClock, Provider, Running, StartGateway, until

from devtools.testing.servers import Reply, Request, ScriptedServer, reply
from devtools.testing.tokens import Signer, good_claims, rsa_key

HOUR = 3600


async def status(gateway: Running, token: str) -> int:
    response = await gateway.client.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
    if response.status_code == 503:
        assert response.json()["code"] == "keys_unavailable"
        assert int(response.headers["retry-after"]) > 0
    return response.status_code


def token_at(provider: Provider, clock: MovingClock, signer: Signer | None = None) -> str:
    now = int(clock.clock.wall())
    return (signer or provider.signer).token(good_claims(provider.issuer, iat=now, exp=now + 600))


async def test_an_hour_without_the_provider_is_never_noticed_by_known_users(
    start_gateway: StartGateway, provider: Provider
) -> None:
    clock = MovingClock()
    stranger = Signer("k2", private=rsa_key(1))
    async with start_gateway(clock=clock.clock) as gateway:
        await provider.server.stop()
        for _ in range(60):
            await clock.moved(HOUR / 60)
            assert await status(gateway, token_at(provider, clock)) == 200
            assert await status(gateway, token_at(provider, clock, stranger)) == 503
        assert gateway.metric("gateway_jwks_stale", issuer=provider.issuer) == 1
        assert gateway.metric("gateway_jwks_fetch_total", issuer=provider.issuer, outcome="failure") > 1
        provider.jwks = {"keys": [provider.signer.jwk(), stranger.jwk()]}
        await provider.server.start()
        await clock.moved(61)
        await until(lambda: gateway.metric("gateway_jwks_stale", issuer=provider.issuer) == 0)
        assert await status(gateway, token_at(provider, clock, stranger)) == 200
        assert await status(gateway, token_at(provider, clock)) == 200


async def test_a_removed_key_stops_working_within_one_refresh(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    clock = MovingClock()
    kept = Signer("k2", private=rsa_key(1))
    provider.jwks = {"keys": [provider.signer.jwk(), kept.jwk()]}
    async with start_gateway(clock=clock.clock) as gateway:
        removed, other = token_at(provider, clock), token_at(provider, clock, kept)
        assert [await status(gateway, token) for token in (removed, other)] == [200, 200]
        provider.jwks = {"keys": [kept.jwk()]}
        fetched = provider.fetches
        await clock.moved(0.8 * 300)
        await until(lambda: provider.fetches > fetched)
        await until(lambda: gateway.metric("gateway_jwks_age_seconds", issuer=provider.issuer) == 0)
        assert [await status(gateway, token) for token in (removed, other)] == [401, 200]


async def test_keys_are_refreshed_before_they_are_stale(start_gateway: StartGateway, provider: Provider) -> None:
    clock = MovingClock()
    async with start_gateway(clock=clock.clock) as gateway:
        for refresh in range(2, 6):
            await clock.moved(0.8 * 300)
            assert gateway.metric("gateway_jwks_stale", issuer=provider.issuer) == 0
            await until(lambda refresh=refresh: provider.fetches == refresh)  # type: ignore[misc]
            await until(lambda: gateway.metric("gateway_jwks_age_seconds", issuer=provider.issuer) == 0)


async def test_a_provider_that_was_down_at_the_start_is_found_when_it_comes(
    start_gateway: StartGateway, provider: Provider
) -> None:
    clock = MovingClock()
    await provider.server.stop()
    async with start_gateway(clock=clock.clock, wait_for_keys=False) as gateway:
        assert await status(gateway, token_at(provider, clock)) == 503
        failures = gateway.metric("gateway_jwks_fetch_total", issuer=provider.issuer, outcome="failure")
        assert failures >= 1
        await provider.server.start()
        await clock.moved(61)
        await until(lambda: gateway.metric("gateway_jwks_stale", issuer=provider.issuer) == 0)
        assert await status(gateway, token_at(provider, clock)) == 200


async def test_random_kids_all_at_once_reach_the_provider_once_and_the_upstream_never(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    clock = MovingClock()
    async with start_gateway(clock=clock.clock, rate_limits="user=600/60s") as gateway:
        tokens = [provider.signer.token(good_claims(provider.issuer), kid=f"random-{n}") for n in range(50)]
        statuses = await asyncio.gather(*(status(gateway, token) for token in tokens))
        assert 401 in statuses
        assert set(statuses) <= {401, 503}
        assert provider.fetches == 2
    assert upstream.requests == []


async def test_a_provider_that_hangs_holds_nobody_but_strangers_and_those_for_a_second_at_most(
    start_gateway: StartGateway, provider: Provider
) -> None:
    release = asyncio.Event()

    async def hangs(request: Request) -> Reply:
        await release.wait()
        return provider.answer(request)

    async with start_gateway() as gateway:
        provider.server.answer = hangs
        stranger = Signer("k2", private=rsa_key(1)).token(good_claims(provider.issuer))
        strange = asyncio.create_task(status(gateway, stranger))
        await provider.server.wait_for_requests(3)
        assert await status(gateway, provider.token()) == 200
        assert not strange.done()
        assert await strange == 503
        release.set()


async def test_a_good_set_survives_a_hostile_one_at_the_refresh(
    start_gateway: StartGateway, provider: Provider
) -> None:
    clock = MovingClock()
    async with start_gateway(clock=clock.clock) as gateway:
        provider.server.answer = lambda _request: reply(b'{"issuer": "https://evil.example", "keys": []}')
        await clock.moved(0.8 * 300)
        await until(lambda: gateway.metric("gateway_jwks_fetch_total", issuer=provider.issuer, outcome="failure") == 1)
        assert await status(gateway, token_at(provider, clock)) == 200
