"""The provider's keys: which are taken, and that the provider's troubles are not the users'."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from gateway_harness import MovingClock, Provider, Running, StartGateway

from devtools.testing.servers import Reply, Request, reply
from devtools.testing.tokens import Signer, good_claims, rsa_key
from gateway.auth_errors import AuthenticationError
from gateway.keys.jwks import parse_jwks
from gateway.keys.jwks_cache import JwksCache
from gateway.keys.jwks_fetch import JwksFetcher, JwksFetchError
from gateway.metrics import Metrics

GOOD = Signer()


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (GOOD.jwk(), {"RS256"}),
        (GOOD.jwk(alg=None), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        (GOOD.jwk(use=None, key_ops=["verify"]), {"RS256"}),
        (Signer("k1", "ES256", ec.generate_private_key(ec.SECP256R1())).jwk(), {"ES256"}),
        (Signer("k1", "EdDSA", ed25519.Ed25519PrivateKey.generate()).jwk(), {"EdDSA"}),
    ],
)
def test_a_fit_key_is_taken_for_the_algorithms_it_fits(jwk: dict[str, Any], algorithms: set[str]) -> None:
    assert parse_jwks({"keys": [jwk]})["k1"].algorithms == algorithms


UNFIT = {
    "private": GOOD.jwk(d="AQAB"),
    "symmetric": {"kty": "oct", "kid": "k1", "k": "AAAA"},
    "for encryption": GOOD.jwk(use="enc"),
    "for signing alone": GOOD.jwk(key_ops=["sign"]),
    "with operations that are no list": GOOD.jwk(key_ops="verify"),
    "of 1024 bits": Signer(private=rsa_key(0, 1024)).jwk(),
    "with e = 3": Signer(private=rsa_key(0, 2048, 3)).jwk(),
    "with e = 1": GOOD.jwk(e="AQ"),
    "with another family's algorithm": GOOD.jwk(alg="ES256"),
    "with an algorithm for encryption": GOOD.jwk(alg="RSA-OAEP"),
    "with an algorithm that is no string": GOOD.jwk(alg=["RS256"]),
    "with a modulus that is no base64": GOOD.jwk(n="***"),
    "without a modulus": GOOD.jwk(n=None),
    "without a kid": GOOD.jwk(kid=None),
    "with a kid that is no string": GOOD.jwk(kid=1),
    "of another curve": Signer("k1", "ES384", ec.generate_private_key(ec.SECP384R1())).jwk(),
    "of an unknown type": GOOD.jwk(kty="AKP"),
    "of a type that is no string": GOOD.jwk(kty=["RSA"]),
}


@pytest.mark.parametrize("jwk", UNFIT.values(), ids=UNFIT.keys())
def test_an_unfit_key_is_passed_over_and_alone_makes_no_set(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no usable key"):
        parse_jwks({"keys": [jwk]})
    assert set(parse_jwks({"keys": [jwk, GOOD.jwk(kid="good")]})) == {"good"}


def test_a_repeated_kid_is_taken_for_neither_key() -> None:
    with pytest.raises(ValueError, match="no usable key"):
        parse_jwks({"keys": [GOOD.jwk(), Signer(private=rsa_key(1)).jwk()]})


@pytest.mark.parametrize("jwks", [None, [], "x", {}, {"keys": {}}, {"keys": [GOOD.jwk()] * 65}])
def test_what_is_no_set_of_bounded_size_is_refused(jwks: object) -> None:
    with pytest.raises(ValueError, match=r"JWK Set|too many"):
        parse_jwks(jwks)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


def fetcher(client: httpx.AsyncClient, provider: Provider, **changes: Any) -> JwksFetcher:
    return JwksFetcher(client, **{"issuer": provider.issuer, "jwks_url": None, "allow_http": True, **changes})


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def source(client: httpx.AsyncClient, provider: Provider, clock: MovingClock) -> JwksCache:
    return JwksCache(fetcher(client, provider), provider.issuer, Metrics(), clock.clock)


async def reason_of(source: JwksCache, kid: str) -> str:
    with pytest.raises(AuthenticationError) as refusal:
        await source.key(kid)
    return refusal.value.reason


HOSTILE: dict[str, Reply] = {
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
    await source.key("k1")
    provider.server.answer = lambda request: answer if request.target == "/jwks" else provider.answer(request)
    clock.move(31)
    assert await reason_of(source, "k2") == "keys_unavailable"
    await source.key("k1")


async def test_discovery_of_another_issuer_is_refused(client: httpx.AsyncClient, provider: Provider) -> None:
    with pytest.raises(JwksFetchError, match="another issuer"):
        await fetcher(client, provider, issuer=provider.issuer + "/").fetch(None)


async def test_a_keys_url_that_is_none_is_a_failed_fetch(client: httpx.AsyncClient, provider: Provider) -> None:
    for url in ("http://[", "http://\ud800/", "http://a:99999999/", "/jwks"):
        document = json.dumps({"issuer": provider.issuer, "jwks_uri": url}).encode()
        provider.server.answer = lambda _request, document=document: reply(document)  # type: ignore[misc]
        with pytest.raises(JwksFetchError):
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
    key = await source.key("k1")

    def not_modified(request: Request) -> Reply:
        if request.target != "/jwks":
            return provider.answer(request)
        assert request["if-none-match"] == '"v1"'
        return reply(status=304)

    provider.server.answer = not_modified
    clock.move(3600)
    assert await reason_of(source, "k2") == "unknown_key"
    assert source.age() == 0
    assert source.holds("k1", key)


async def test_known_keys_serve_for_a_day_without_the_provider_and_then_it_is_ours_not_the_users(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    await source.key("k1")
    await provider.server.stop()
    clock.move(24 * 3600 - 1)
    await source.key("k1")
    clock.move(1)
    assert await reason_of(source, "k1") == "keys_unavailable"
    await provider.server.start()
    clock.move(31)
    await source.key("k1")


async def test_random_kids_reach_the_provider_once_in_thirty_seconds(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    await source.key("k1")
    for number in range(10_000):
        clock.move(0.0059)
        assert await reason_of(source, f"random-{number}") == "unknown_key"
    assert provider.fetches == 1 + 1


async def test_many_requests_for_a_new_key_share_one_fetch(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    await source.key("k1")
    clock.move(31)
    new = Signer("k2", private=rsa_key(1))
    provider.jwks = {"keys": [provider.signer.jwk(), new.jwk()]}
    keys = await asyncio.gather(*(source.key("k2") for _ in range(50)))
    assert len(set(map(id, keys))) == 1
    assert provider.fetches == 2


async def test_a_removed_key_stops_and_an_unchanged_one_stays_the_same(
    source: JwksCache, provider: Provider, clock: MovingClock
) -> None:
    kept = Signer("k2", private=rsa_key(1))
    provider.jwks = {"keys": [provider.signer.jwk(), kept.jwk()]}
    removed_key, kept_key = await source.key("k1"), await source.key("k2")
    provider.jwks = {"keys": [kept.jwk()]}
    clock.move(31)
    assert await reason_of(source, "k3") == "unknown_key"
    assert not source.holds("k1", removed_key)
    assert source.holds("k2", kept_key)


async def test_a_slow_provider_holds_a_request_for_a_second_at_most(
    source: JwksCache, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.keys.jwks_cache.UNKNOWN_KID_WAIT_SECONDS", 0.05)
    answered = asyncio.Event()

    async def slowly(request: Request) -> Reply:
        await answered.wait()
        return provider.answer(request)

    provider.server.answer = slowly
    assert await reason_of(source, "k1") == "keys_unavailable"
    answered.set()
    await source.key("k1")


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
