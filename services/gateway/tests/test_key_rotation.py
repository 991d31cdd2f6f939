"""A provider that signs with a new key and publishes it no earlier: its users never notice, strangers or not."""

import asyncio
import contextlib
import itertools
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_harness import MovingClock, Provider, StartGateway, settings_of, until
from hypothesis import given
from hypothesis import strategies as st

from devtools.processes import Child, free_port
from devtools.testing.servers import Reply, Request, ScriptedServer
from devtools.testing.serving import http_client
from devtools.testing.tokens import Signer, good_claims, rsa_key
from gateway.keys.fetch_budget import FetchBudget

NEW = Signer("k2", private=rsa_key(1))
GATEWAY = str(Path(sys.executable).with_name("gateway"))
NO_LIMIT_OF_FAILURES = "user=1000000/60s"

type Answer = tuple[int, str | None]


async def answer(client: httpx.AsyncClient, token: str) -> Answer:
    """Status and `Retry-After`."""
    response = await client.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
    if response.status_code == 503:
        assert response.json()["code"] == "keys_unavailable"
        assert "www-authenticate" not in response.headers
    return response.status_code, response.headers.get("retry-after")


OK: Answer = (200, None)
REFUSED: Answer = (401, None)
LATER: Answer = (503, "5")


@given(st.integers(1, 3), st.lists(st.floats(0, 20), max_size=40))
def test_a_budget_is_never_exceeded_within_its_seconds_and_refuses_nothing_else(
    count: int, pauses: list[float]
) -> None:
    now = 0.0
    budget = FetchBudget(count, 10, lambda: now)
    taken: list[float] = []
    for pause in pauses:
        now += pause
        room = sum(now - instant < 10 for instant in taken) < count
        assert budget.take() is room
        taken += [now] * room


async def test_a_new_key_is_taken_at_once_although_a_stranger_came_a_moment_before(
    start_gateway: StartGateway, provider: Provider
) -> None:
    """The first stray key id is looked up at once; a good one that follows waits for the next look-up, 5 s later."""
    clock = MovingClock()
    async with start_gateway(clock=clock.clock) as gateway:
        assert await answer(gateway.client, provider.signer.token(good_claims(provider.issuer), kid="stray")) == REFUSED
        provider.jwks = {"keys": [NEW.jwk()]}
        good = NEW.token(good_claims(provider.issuer))
        assert await answer(gateway.client, good) == LATER
        assert gateway.metric("gateway_auth_failures_total", reason="unknown_key") == 2
        clock.move(4.9)
        assert await answer(gateway.client, good) == LATER
        clock.move(0.1)
        assert await answer(gateway.client, good) == OK
        assert provider.fetches == 3


async def test_strangers_have_the_provider_called_12_times_a_minute_and_no_good_token_is_refused(
    start_gateway: StartGateway, provider: Provider
) -> None:
    clock = MovingClock()
    numbers = itertools.count()

    def stray() -> str:
        return provider.signer.token(good_claims(provider.issuer), kid=f"random-{next(numbers)}")

    async with start_gateway(clock=clock.clock, rate_limits=NO_LIMIT_OF_FAILURES) as gateway:
        good, old = NEW.token(good_claims(provider.issuer)), provider.token()
        seen: list[Answer] = []
        for second in range(60):
            if second == 31:
                provider.jwks = {"keys": [NEW.jwk()]}
            strays = [await answer(gateway.client, stray()) for _ in range(3)]
            assert strays == [REFUSED if second % 5 == 0 else LATER, LATER, LATER]
            if second >= 31:
                seen.append(await answer(gateway.client, good))
            if second < 35:
                assert await answer(gateway.client, old) == OK
            clock.move(1)
        assert seen == [LATER] * 4 + [OK] * 25
        assert provider.fetches == 1 + 12


async def test_a_kid_that_was_looked_up_in_vain_is_refused_for_a_minute_and_has_nothing_fetched(
    start_gateway: StartGateway, provider: Provider
) -> None:
    clock = MovingClock()
    stray, other = (provider.signer.token(good_claims(provider.issuer), kid=kid) for kid in ("stray", "other"))
    async with start_gateway(clock=clock.clock) as gateway:
        assert await answer(gateway.client, stray) == REFUSED
        assert await answer(gateway.client, other) == LATER
        clock.move(5)
        assert await answer(gateway.client, provider.signer.token(good_claims(provider.issuer), kid="third")) == REFUSED
        assert await answer(gateway.client, other) == REFUSED
        clock.move(54)
        assert await answer(gateway.client, stray) == REFUSED
        assert provider.fetches == 3
        clock.move(1)
        assert await answer(gateway.client, stray) == REFUSED
        assert provider.fetches == 4


async def test_a_fetch_that_began_before_a_key_id_came_does_not_call_it_unknown(
    start_gateway: StartGateway, provider: Provider
) -> None:
    """The provider may rotate between its answer and the arrival of that answer."""
    clock = MovingClock()
    held = asyncio.Event()

    async def late(request: Request) -> Reply:
        answered = provider.answer(request)
        if request.target == "/jwks":
            await held.wait()
        return answered

    async with start_gateway(clock=clock.clock) as gateway:
        provider.server.answer = late
        stray = provider.signer.token(good_claims(provider.issuer), kid="stray")
        strayed = asyncio.create_task(answer(gateway.client, stray))
        await until(lambda: provider.fetches == 2)
        provider.jwks = {"keys": [NEW.jwk()]}
        good = asyncio.create_task(answer(gateway.client, NEW.token(good_claims(provider.issuer))))
        await until(lambda: gateway.metric("gateway_in_flight_requests") == 0 and not good.done())
        held.set()
        assert await strayed == REFUSED
        assert await good == LATER
        clock.move(5)
        assert await answer(gateway.client, NEW.token(good_claims(provider.issuer))) == OK


async def test_a_key_id_that_was_not_looked_up_counts_against_its_address_and_an_outage_does_not(
    start_gateway: StartGateway, provider: Provider
) -> None:
    clock = MovingClock()
    strays = [provider.signer.token(good_claims(provider.issuer), kid=f"random-{n}") for n in range(8)]
    async with start_gateway(clock=clock.clock, rate_limits="auth-failure=3/3600s") as gateway:
        statuses = [(await answer(gateway.client, token))[0] for token in strays]
        assert statuses == [401, 503, 503, 429, 429, 429, 429, 429]
        assert await answer(gateway.client, provider.token()) == OK
    await provider.server.stop()
    async with start_gateway(clock=clock.clock, rate_limits="auth-failure=3/3600s", wait_for_keys=False) as gateway:
        await until(lambda: gateway.metric("gateway_jwks_fetch_total", issuer=provider.issuer, outcome="failure") == 1)
        assert [(await answer(gateway.client, token))[0] for token in strays] == [503] * 8
        assert gateway.metric("gateway_auth_failures_total", reason="keys_unavailable") == 8


async def test_the_key_ids_of_strangers_are_forgotten_beyond_a_bound_however_long_they_are(
    start_gateway: StartGateway, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.keys.jwks_cache.REMEMBERED_UNKNOWN_KIDS", 4)
    clock = MovingClock()
    strays = [provider.signer.token(good_claims(provider.issuer), kid=f"{n}" * 2000) for n in range(6)]
    async with start_gateway(clock=clock.clock, rate_limits=NO_LIMIT_OF_FAILURES) as gateway:
        assert [await answer(gateway.client, token) for token in strays] == [REFUSED, *[LATER] * 5]
        clock.move(5)
        assert await answer(gateway.client, strays[5]) == REFUSED
        assert [await answer(gateway.client, token) for token in strays[1:]] == [LATER, *[REFUSED] * 4]


def without_kid(provider: Provider, signer: Signer, **claims: Any) -> str:
    return signer.token(good_claims(provider.issuer, **claims), kid=None)


async def test_a_token_without_a_kid_is_taken_where_one_key_fits_it(
    start_gateway: StartGateway, provider: Provider
) -> None:
    """RFC 7515 section 4.1.4. Beside it: a forged one, and a second key of the same type in the set."""
    async with start_gateway() as gateway:
        assert await answer(gateway.client, without_kid(provider, provider.signer)) == OK
        assert await answer(gateway.client, provider.signer.token(good_claims(provider.issuer), kid=None)) == OK
        assert await answer(gateway.client, without_kid(provider, NEW)) == REFUSED
        assert gateway.metric("gateway_auth_failures_total", reason="signature") == 1
        provider.jwks = {"keys": [provider.signer.jwk(), NEW.jwk(kid=None)]}
        assert await answer(gateway.client, without_kid(provider, NEW, sub="bob")) == REFUSED
        assert gateway.metric("gateway_auth_failures_total", reason="unknown_key") == 1
        assert await answer(gateway.client, without_kid(provider, provider.signer, sub="carol")) == REFUSED
        assert await answer(gateway.client, provider.token()) == OK


async def test_a_remembered_token_without_a_kid_stops_when_its_key_is_no_longer_the_only_one(
    start_gateway: StartGateway, provider: Provider
) -> None:
    clock = MovingClock()
    token = without_kid(provider, provider.signer)
    async with start_gateway(clock=clock.clock) as gateway:
        assert await answer(gateway.client, token) == OK
        provider.jwks = {"keys": [provider.signer.jwk(), NEW.jwk()]}
        assert await answer(gateway.client, NEW.token(good_claims(provider.issuer))) == OK
        assert await answer(gateway.client, token) == REFUSED


async def test_forged_tokens_without_a_kid_have_a_budget_of_their_own(
    start_gateway: StartGateway, provider: Provider
) -> None:
    """They never spend the look-ups of key ids, nor these theirs; a new key under no id is found by them."""
    clock = MovingClock()
    forged = (without_kid(provider, NEW, jti=str(n)) for n in itertools.count())
    async with start_gateway(clock=clock.clock, rate_limits=NO_LIMIT_OF_FAILURES) as gateway:
        for _ in range(6):
            assert [await answer(gateway.client, next(forged)) for _ in range(4)] == [REFUSED] * 4
            clock.move(9.9)
        assert provider.fetches == 1 + 2
        repeated = next(forged)
        clock.move(1)
        assert [await answer(gateway.client, repeated) for _ in range(4)] == [REFUSED] * 4
        assert provider.fetches == 1 + 3
        stray = provider.signer.token(good_claims(provider.issuer), kid="stray")
        assert await answer(gateway.client, stray) == REFUSED
        assert provider.fetches == 1 + 4
        provider.jwks = {"keys": [NEW.jwk()]}
        assert await answer(gateway.client, without_kid(provider, NEW)) == OK
        assert provider.fetches == 1 + 5


async def test_a_token_without_a_kid_is_not_refused_while_the_provider_does_not_answer(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with start_gateway() as gateway:
        await provider.server.stop()
        assert await answer(gateway.client, without_kid(provider, provider.signer)) == OK
        assert await answer(gateway.client, without_kid(provider, NEW)) == LATER
        assert gateway.metric("gateway_auth_failures_total", reason="keys_unavailable") == 1


class RealProvider:
    """The development identity provider as a process of its own; it publishes a key when it signs with it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.issuer = str(client.base_url).rstrip("/")
        self._client = client

    async def token(self) -> str:
        return str((await self._client.post("/token", json={"sub": "alice"})).json()["access_token"])

    async def rotate(self) -> None:
        """A new key signs and is published; the earlier ones go."""
        for body in ({}, {"drop": True}):
            (await self._client.post("/rotate", json=body)).raise_for_status()


@pytest.fixture
async def real_provider(tmp_path: Path) -> AsyncIterator[RealProvider]:
    port = free_port()
    child = Child("idp", [sys.executable, "-m", "devtools.idp", "--port", str(port)], tmp_path / "idp.log")
    async with http_client(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            await connected(client, "/jwks.json")
            yield RealProvider(client)
        finally:
            child.stop()


async def connected(client: httpx.AsyncClient, path: str) -> None:
    """Return when the server listens."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(httpx.TransportError):
                await client.get(path)
                return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def strangers(client: httpx.AsyncClient, issuer: str) -> AsyncIterator[Callable[[], set[int]]]:
    """Send unknown key ids without pause; tells the statuses they got."""
    statuses: set[int] = set()

    async def send(number: int) -> None:
        for count in itertools.count():
            token = NEW.token(good_claims(issuer), kid=f"random-{number}-{count}")
            statuses.add((await answer(client, token))[0])

    sending = [asyncio.create_task(send(number)) for number in range(2)]
    try:
        yield lambda: statuses
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def test_under_strangers_a_real_provider_rotates_and_its_users_wait_for_one_look_up_at_most(
    start_gateway: StartGateway, real_provider: RealProvider
) -> None:
    clock = MovingClock()
    changes = {"issuer": real_provider.issuer, "rate_limits": NO_LIMIT_OF_FAILURES}
    async with (
        start_gateway(clock=clock.clock, **changes) as gateway,
        strangers(gateway.client, real_provider.issuer) as statuses,
    ):
        await until(lambda: {401, 503} <= statuses())
        for _ in range(3):
            await real_provider.rotate()
            token = await real_provider.token()
            assert await answer(gateway.client, token) == LATER
            clock.move(5)
            assert await answer(gateway.client, token) in (OK, LATER)
            # a look-up for a stranger may be under way that began before the clock was moved
            await until(lambda: gateway.metric("gateway_jwks_age_seconds", issuer=real_provider.issuer) == 0)
            assert await answer(gateway.client, token) == OK


async def test_under_strangers_two_real_processes_rotate_and_no_user_is_refused(
    upstream: ScriptedServer, provider: Provider, real_provider: RealProvider
) -> None:
    """The same by the machine's own clock: who waits as `Retry-After` says gets through."""
    port = free_port()
    changes = {"host": "127.0.0.1", "port": port, "admin_port": 0, "rate_limits": NO_LIMIT_OF_FAILURES}
    environment = os.environ | settings_of(provider, upstream, issuer=real_provider.issuer, **changes)
    process = await asyncio.create_subprocess_exec(GATEWAY, "serve", env=environment, stdout=asyncio.subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        async with http_client(base_url=url) as client:
            await connected(client, "/")
            async with strangers(client, real_provider.issuer) as statuses:
                await until(lambda: {401, 503} <= statuses())
                assert await answer(client, await real_provider.token()) == OK
                await real_provider.rotate()
                token = await real_provider.token()
                seen = [await answer(client, token)]
                while seen[-1] != OK:
                    assert seen[-1] == LATER
                    await asyncio.sleep(int(seen[-1][1] or 0))
                    seen.append(await answer(client, token))
                assert len(seen) <= 3
    finally:
        process.terminate()
        await process.wait()
