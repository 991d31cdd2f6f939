"""The provider's keys are kept, and the provider's troubles are not the users'."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_harness import MovingClock, Provider, Running, StartGateway

from devtools.testing.servers import Reply, Request, reply
from devtools.testing.serving import http_client
from devtools.testing.tokens import Signer, good_claims, rsa_key
from gateway.auth_errors import AuthenticationError
from gateway.keys.jwks import Key
from gateway.keys.jwks_cache import JwksCache
from gateway.keys.jwks_fetch import JwksFetcher, JwksFetchError
from gateway.metrics import Metrics


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client() as client:
        yield client


def fetcher(client: httpx.AsyncClient, provider: Provider, **changes: Any) -> JwksFetcher:
    return JwksFetcher(client, **{"issuer": provider.issuer, "jwks_url": None, "allow_http": True, **changes})


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def source(client: httpx.AsyncClient, provider: Provider, clock: MovingClock) -> JwksCache:
    return JwksCache(fetcher(client, provider), provider.issuer, Metrics(), clock.clock)


async def key_of(source: JwksCache, kid: str) -> Key:
    return await source.key(kid, "RS256")


async def refusal_of(source: JwksCache, kid: str) -> tuple[int, str]:
    with pytest.raises(AuthenticationError) as refusal:
        await key_of(source, kid)
    return refusal.value.status, refusal.value.reason


UNKNOWN = (401, "unknown_key")
UNAVAILABLE = (503, "keys_unavailable")


GZIP = {"content-encoding": "gzip"}
HOSTILE: dict[str, Reply] = {
    "huge once unpacked": reply(gzip.compress(b" " * (256 * 1024 + 1)), headers=GZIP),
    "gzip cut off": reply(gzip.compress(b'{"keys": []}')[:-8], headers=GZIP),
    "no gzip": reply(b'{"keys": []}', headers=GZIP),
    "another encoding": reply(b'{"keys": []}', headers={"content-encoding": "br"}),
    "huge": reply(b" " * (256 * 1024 + 1)),
    "redirecting": reply(status=302, headers={"location": "/elsewhere"}),
    "HTML": reply(b"<html>", headers={"content-type": "text/html"}),
    "not found": reply(b"{}", status=404),
    "no set": reply(b'{"keys": 1}'),
    "empty set": reply(b'{"keys": []}'),
    "nested deep": reply(b"[" * 100_000),
    "cut off": Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", "close"),
    "no HTTP": Reply(b"SSH-2.0-OpenSSH\r\n", "close"),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_answer_never_replaces_a_good_set(
    source: JwksCache, provider: Provider, clock: MovingClock, answer: Reply
) -> None:
    await key_of(source, "k1")
    provider.server.answer = lambda request: answer if request.target == "/jwks" else provider.answer(request)
    clock.move(5)
    assert await refusal_of(source, "k2") == UNAVAILABLE
    await key_of(source, "k1")


async def test_discovery_and_keys_may_come_as_gzip(client: httpx.AsyncClient, provider: Provider) -> None:
    """Some providers and caches send it whatever was accepted (RFC 9110 section 8.4.1.3)."""
    discovery = json.dumps({"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/jwks"})
    for name in ("gzip", "x-gzip", "GZIP"):
        provider.server.answer = lambda request, name=name: reply(  # type: ignore[misc]
            gzip.compress((json.dumps(provider.jwks) if request.target == "/jwks" else discovery).encode()),
            headers={"content-encoding": name},
        )
        keys = (await fetcher(client, provider).fetch(None)).keys
        assert keys is not None
        assert "k1" in keys.kids


async def test_a_provider_without_discovery_is_named_with_the_setting_that_helps(
    client: httpx.AsyncClient, provider: Provider
) -> None:
    provider.server.answer = lambda _request: reply(b"{}", status=404)
    with pytest.raises(
        JwksFetchError, match=r"status 404 for /\.well-known/openid-configuration; set GATEWAY_JWKS_URL"
    ):
        await fetcher(client, provider).fetch(None)


async def test_discovery_of_another_issuer_is_refused(client: httpx.AsyncClient, provider: Provider) -> None:
    with pytest.raises(JwksFetchError, match="another issuer"):
        await fetcher(client, provider, issuer=provider.issuer + "/").fetch(None)


async def test_a_keys_url_that_is_none_is_a_failed_fetch(client: httpx.AsyncClient, provider: Provider) -> None:
    for url in ("http://[", "http://\ud800/", "http://a:99999999/", "/jwks"):
        document = json.dumps({"issuer": provider.issuer, "jwks_uri": url}).encode()
        provider.server.answer = lambda _request, document=document: reply(document)  # type: ignore[misc]
        with pytest.raises(JwksFetchError, match="discovery: jwks_uri is not a URL"):
            await fetcher(client, provider).fetch(None)


async def test_an_etag_that_cannot_be_sent_back_is_not_kept(client: httpx.AsyncClient, provider: Provider) -> None:
    jwks = json.dumps(provider.jwks).encode()
    answer = Reply(b'HTTP/1.1 200 OK\r\netag: "\xe9"\r\ncontent-length: %d\r\n\r\n' % len(jwks) + jwks)
    provider.server.answer = lambda request: answer if request.target == "/jwks" else provider.answer(request)
    assert (await fetcher(client, provider).fetch(None)).etag is None


async def test_http_is_refused_unless_allowed(client: httpx.AsyncClient, provider: Provider) -> None:
    with pytest.raises(JwksFetchError, match="not https"):
        await fetcher(client, provider, allow_http=False).fetch(None)
    assert provider.server.requests == []


async def test_freshness_follows_max_age_within_bounds(client: httpx.AsyncClient, provider: Provider) -> None:
    for header, seconds in [("", 300), ("max-age=120", 120), ("public, max-age=5", 60), ("max-age=99999", 3600)]:
        provider.headers = {"cache-control": header}
        assert (await fetcher(client, provider).fetch(None)).fresh_seconds == seconds


async def test_an_unchanged_set_is_confirmed_by_its_etag(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    provider.headers = {"etag": '"v1"'}
    key = await key_of(source, "k1")

    def not_modified(request: Request) -> Reply:
        if request.target != "/jwks":
            return provider.answer(request)
        assert request["if-none-match"] == '"v1"'
        return reply(status=304)

    provider.server.answer = not_modified
    clock.move(3600)
    assert await refusal_of(source, "k2") == UNKNOWN
    assert source.age() == 0
    assert source.held("k1", "RS256") is key


async def test_known_keys_serve_for_a_day_without_the_provider_and_then_it_is_ours_not_the_users(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    await key_of(source, "k1")
    await provider.server.stop()
    clock.move(24 * 3600 - 1)
    await key_of(source, "k1")
    clock.move(1)
    assert await refusal_of(source, "k1") == UNAVAILABLE
    await provider.server.start()
    clock.move(5)
    await key_of(source, "k1")


async def test_many_requests_for_a_new_key_share_one_fetch(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    await key_of(source, "k1")
    clock.move(5)
    new = Signer("k2", private=rsa_key(1))
    provider.jwks = {"keys": [provider.signer.jwk(), new.jwk()]}
    keys = await asyncio.gather(*(key_of(source, "k2") for _ in range(50)))
    assert len(set(map(id, keys))) == 1
    assert provider.fetches == 2


async def test_a_removed_key_stops_and_an_unchanged_one_stays_the_same(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    kept = Signer("k2", private=rsa_key(1))
    provider.jwks = {"keys": [provider.signer.jwk(), kept.jwk()]}
    removed_key, kept_key = await key_of(source, "k1"), await key_of(source, "k2")
    provider.jwks = {"keys": [kept.jwk()]}
    clock.move(5)
    assert await refusal_of(source, "k3") == UNKNOWN
    assert source.held("k1", "RS256") is not removed_key
    assert source.held("k2", "RS256") is kept_key


async def test_a_slow_provider_holds_a_request_for_a_second_at_most(
    source: JwksCache, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.keys.jwks_cache.FETCH_WAIT_SECONDS", 0.05)
    answered = asyncio.Event()

    async def slowly(request: Request) -> Reply:
        await answered.wait()
        return provider.answer(request)

    provider.server.answer = slowly
    assert await refusal_of(source, "k1") == UNAVAILABLE
    answered.set()
    await key_of(source, "k1")


async def test_a_token_stops_when_its_key_goes(gateway: Running, provider: Provider) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    assert (await gateway.client.get("/v1/todos", headers=headers)).status_code == 200
    new = Signer("k2", private=rsa_key(1))
    provider.jwks = {"keys": [new.jwk()]}
    rotated = {"Authorization": f"Bearer {new.token(good_claims(provider.issuer))}"}
    assert (await gateway.client.get("/v1/todos", headers=rotated)).status_code == 200
    assert (await gateway.client.get("/v1/todos", headers=headers)).status_code == 401


async def test_without_keys_the_gateway_is_unready_and_answers_503(
    start_gateway: StartGateway, provider: Provider
) -> None:
    await provider.server.stop()
    async with start_gateway(wait_for_keys=False) as gateway:
        response = await gateway.client.get("/v1/todos", headers={"Authorization": f"Bearer {provider.token()}"})
        assert (response.status_code, response.json()["code"]) == (503, "keys_unavailable")
        assert int(response.headers["retry-after"]) > 0
        assert "www-authenticate" not in response.headers
        assert gateway.metric("gateway_auth_failures_total", reason="keys_unavailable") == 1
