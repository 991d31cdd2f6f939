"""Which tokens pass, which are refused, and how, over real sockets."""

import json
import time
from typing import Any
from uuid import uuid4

import pytest
from gateway_harness import MovingClock, Provider, Running, StartGateway, until
from httpx import Response

from devtools.testing.servers import ScriptedServer
from devtools.testing.tokens import Signer, encode, encode_json, good_claims, rsa_key
from gateway.keys.jwks import Key
from runtime.identifiers import is_canonical_uuid

INVALID_TOKEN = 'Bearer error="invalid_token"'
EXPLAINED = {
    "issuer": "issuer: iss is no issuer that is trusted here",
    "algorithm": "algorithm: alg is not accepted from this issuer, or not the one of the key",
    "audience": "audience: the token is for another audience",
    "expired": "expired: exp is in the past",
    "not_yet_valid": "not_yet_valid: nbf or iat is in the future",
    "claims": "claims: a claim is missing, or its value is not accepted",
}


async def get(gateway: Running, *authorization: str) -> Response:
    return await gateway.client.get("/v1/todos", headers=[("Authorization", value) for value in authorization])


def assert_problem(response: Response, status: int, code: str) -> None:
    problem = response.json()
    assert response.status_code == status, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert (problem["status"], problem["code"]) == (status, code)
    assert is_canonical_uuid(response.headers["x-request-id"])
    assert problem["instance"] == f"urn:uuid:{response.headers['x-request-id']}"


async def test_a_good_token_reaches_the_upstream_and_stays_at_the_gateway(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    response = await get(gateway, f"Bearer {provider.token()}")
    assert response.status_code == 200
    [request] = upstream.requests
    assert request["x-user-id"] == "alice"
    assert "authorization" not in request


async def test_the_scheme_is_read_without_case(gateway: Running, provider: Provider) -> None:
    assert (await get(gateway, f"bEARER {provider.token()}")).status_code == 200


@pytest.mark.parametrize("authorization", [[], ["Basic YTpi"], ["Digest x"]])
async def test_without_a_bearer_token_the_challenge_names_no_error(
    gateway: Running, upstream: ScriptedServer, authorization: list[str]
) -> None:
    response = await get(gateway, *authorization)
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"
    assert upstream.requests == []
    assert gateway.metric("gateway_auth_failures_total", reason="missing") == 1


@pytest.mark.parametrize("authorization", [b"Bearer", b"Bearer a b", b"Bearer a,b", b"Bearer =", "Bearer ä".encode()])
async def test_a_malformed_bearer_header_is_a_bad_request(
    gateway: Running, upstream: ScriptedServer, authorization: bytes
) -> None:
    response = await gateway.client.get("/v1/todos", headers=[(b"Authorization", authorization)])
    assert_problem(response, 400, "invalid_authorization")
    assert upstream.requests == []


async def test_two_authorization_headers_are_a_bad_request(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    response = await get(gateway, f"Bearer {provider.token()}", f"Bearer {provider.token()}")
    assert_problem(response, 400, "invalid_authorization")
    assert upstream.requests == []


def nearest_bad_tokens(provider: Provider) -> dict[str, tuple[str, str]]:
    """Name of the rule → (reason, a token that breaks that rule alone)."""
    signer, issuer, now = provider.signer, provider.issuer, int(time.time())
    good = good_claims(issuer)
    forger = Signer(private=rsa_key(1))
    header, payload, signature = provider.token().split(".")

    def with_claims(reason: str, **changes: Any) -> tuple[str, str]:
        return reason, provider.token(**changes)

    def with_null(reason: str, name: str, **changes: Any) -> tuple[str, str]:
        return reason, signer.token({**good_claims(issuer, **changes), name: None})

    def with_type(reason: str, typ: str, **changes: Any) -> tuple[str, str]:
        return reason, signer.token(good_claims(issuer, **changes), typ=typ)

    def with_header(reason: str, **changes: Any) -> tuple[str, str]:
        return reason, signer.token(good, **changes)

    def signed(reason: str, header_text: bytes, payload_text: bytes) -> tuple[str, str]:
        signing_input = f"{encode(header_text)}.{encode(payload_text)}"
        return reason, f"{signing_input}.{signer.sign(signing_input)}"

    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # the last sextet of 256 bytes carries two bits that are not data
    lax = signature[:-1] + alphabet[alphabet.index(signature[-1]) + 1]
    good_header = b'{"alg":"RS256","kid":"k1"}'
    return {
        "expired": with_claims("expired", iat=now - 100, exp=now - 11),
        "not yet valid": with_claims("not_yet_valid", nbf=now + 60),
        "issued in the future": with_claims("not_yet_valid", iat=now + 60),
        "wrong issuer": with_claims("issuer", iss=issuer + "/"),
        "no issuer": with_claims("issuer", iss=None),
        "issuer in a list": with_claims("issuer", iss=[issuer]),
        "wrong audience": with_claims("audience", aud="other"),
        "wrong audience in another case": with_claims("audience", aud="TODOS"),
        "wrong audience, right azp": with_claims("audience", aud="other", azp="todos"),
        "wrong audience, right client_id": with_claims("audience", aud="other", client_id="todos"),
        "audience null, right azp and client_id": with_null("audience", "aud", azp="todos", client_id="todos"),
        "audience an empty list, right client_id": with_claims("audience", aud=[], client_id="todos"),
        "audience empty, right client_id": with_claims("audience", aud="", client_id="todos"),
        "no audience": with_claims("audience", aud=None),
        "wrong azp": with_claims("audience", aud=None, azp="other"),
        "wrong client_id": with_claims("audience", aud=None, client_id="other"),
        "wrong azp, right client_id": with_claims("audience", aud=None, azp="other", client_id="todos"),
        "azp null, right client_id": with_null("audience", "azp", aud=None, client_id="todos"),
        "right azp, wrong client_id": with_claims("audience", aud=None, azp="todos", client_id="other"),
        "client_id in a list": with_claims("audience", aud=None, client_id=["todos"]),
        "client_id of an at+jwt": with_type("audience", "at+jwt", aud=None, client_id="todos"),
        "client_id of an application/AT+JWT": with_type("audience", "application/AT+JWT", aud=None, client_id="todos"),
        "audience no string": with_claims("audience", aud=["todos", 1]),
        "no sub": with_claims("claims", sub=None),
        "empty sub": with_claims("claims", sub=""),
        "sub no Unicode text": with_claims("malformed", sub="\ud800"),
        "sub too long": with_claims("claims", sub="a" * 256),
        "sub too long in UTF-8": with_claims("claims", sub="é" * 128),
        "sub a number": with_claims("claims", sub=7),
        "no exp": with_claims("claims", exp=None),
        "exp a string": with_claims("claims", exp=str(now + 60)),
        "exp true": with_claims("claims", exp=True),
        "exp infinite": signed("claims", good_header, encode_exp(good, "1e999")),
        "exp not a number": signed("malformed", good_header, encode_exp(good, "NaN")),
        "lives too long": with_claims("claims", exp=now + 24 * 3600 + 100),
        "lives too long without iat": with_claims("claims", iat=None, exp=now + 24 * 3600 + 100),
        "nbf a string": with_claims("claims", nbf="0"),
        "iat null": with_null("claims", "iat"),
        "nbf null": with_null("claims", "nbf"),
        "exp null": with_null("claims", "exp"),
        "events": with_claims("claims", events={"http://schemas.openid.net/event/backchannel-logout": {}}),
        "events, though of the type of an access token": with_type("claims", "at+jwt", events={}),
        "bound to a DPoP key": with_claims("bound", cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        "bound to a certificate": with_claims("bound", cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        "bound to nothing": with_null("bound", "cnf"),
        "jti a number": with_claims("claims", jti=7),
        "jti no Unicode text": with_claims("malformed", jti="\ud800"),
        "alg none": ("algorithm", f"{encode_json({'alg': 'none', 'kid': 'k1'})}.{payload}."),
        "alg None, signed": ("algorithm", f"{encode_json({'alg': 'None', 'kid': 'k1'})}.{payload}.{signature}"),
        "HS256 with the public key": ("algorithm", signer.hs256_with_public_key(good)),
        "an algorithm that is not allowed": ("algorithm", Signer(algorithm="RS512").token(good)),
        "alg missing": with_header("malformed", alg=None),
        "alg a list": with_header("malformed", alg=["RS256"]),
        "unknown kid": with_header("unknown_key", kid="k9"),
        "no kid, signed by another key": ("signature", Signer(private=rsa_key(1)).token(good, kid=None)),
        "kid a number": with_header("malformed", kid=1),
        "crit": with_header("malformed", crit=["exp"]),
        "b64": with_header("malformed", b64=True),
        "zip": with_header("malformed", zip="DEF"),
        "crit that names jku": with_header("malformed", crit=["jku"], jku=f"{issuer}/jwks"),
        "crit of nothing": with_header("malformed", crit=[]),
        "own key in jwk": ("signature", forger.token(good, jwk=forger.jwk())),
        "own key in x5c": ("signature", forger.token(good, x5c=[encode(b"certificate")])),
        "own keys at jku": ("signature", forger.token(good, jku="https://evil.example/jwks")),
        "own keys at x5u": ("signature", forger.token(good, x5u="https://evil.example/x5u")),
        "own keys at jku under another kid": ("unknown_key", forger.token(good, kid="k9", jku="https://evil.example")),
        "typ of a proof": with_header("malformed", typ="dpop+jwt"),
        "typ of a logout token": with_header("malformed", typ="logout+jwt"),
        "typ of a security event": with_header("malformed", typ="application/secevent+jwt"),
        "typ empty": with_header("malformed", typ=""),
        "typ of another tree": with_header("malformed", typ="text/jwt"),
        "typ with application twice": with_header("malformed", typ="application/application/jwt"),
        "typ application alone": with_header("malformed", typ="application/"),
        "typ a number": with_header("malformed", typ=1),
        "signed by another key": ("signature", Signer(private=rsa_key(1)).token(good)),
        "tampered claims": ("signature", f"{header}.{encode_json({**good, 'sub': 'bob'})}.{signature}"),
        "no signature": ("signature", f"{header}.{payload}."),
        "signature with loose bits": ("malformed", f"{header}.{payload}.{lax}"),
        "padded": ("malformed", f"{header}.{payload}.{signature}=="),
        "base64 instead of base64url": ("malformed", f"{header}.{payload}.{signature[:-2]}+/"),
        "two parts": ("malformed", f"{header}.{payload}"),
        "five parts": ("malformed", f"{header}.{payload}.{signature}.{signature}.{signature}"),
        "repeated header member": signed("malformed", b'{"alg":"none","alg":"RS256","kid":"k1"}', b"{}"),
        "repeated claim": signed("malformed", good_header, b'{"sub":"bob","sub":"alice"}'),
        "repeated claim deep inside": signed("malformed", good_header, b'{"x":{"a":1,"a":2}}'),
        "claims no object": signed("malformed", good_header, b"[]"),
        "claims no JSON": signed("malformed", good_header, b"{'sub': 'alice'}"),
        "claims no UTF-8": signed("malformed", good_header, b'{"sub":"\xff"}'),
        "claims with a BOM": signed("malformed", good_header, b"\xef\xbb\xbf{}"),
        "claims nested deep": signed("issuer", good_header, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        "longer than 16 KiB": with_claims("too_large", padding="x" * 12 * 1024),
    }


def null_header(signer: Signer, claims: dict[str, Any]) -> str:
    """A token whose `kid` and `typ` are there and null."""
    signing_input = f"{encode_json({'alg': signer.algorithm, 'kid': None, 'typ': None})}.{encode_json(claims)}"
    return f"{signing_input}.{signer.sign(signing_input)}"


def encode_exp(claims: dict[str, Any], literal: str) -> bytes:
    return json.dumps({**claims, "exp": "EXP"}).replace('"EXP"', literal).encode()


def refusal(response: Response) -> tuple[str, str]:
    return response.headers["www-authenticate"], response.json()["detail"]


def explained(reason: str) -> tuple[str, str]:
    """The challenge and the detail of a token that is refused for this reason."""
    if reason not in EXPLAINED:
        return INVALID_TOKEN, "The token is not accepted."
    description = EXPLAINED[reason]
    return f'{INVALID_TOKEN}, error_description="{description}"', f"The token is not accepted: {description}."


async def counted(gateway: Running, reason: str, number: float) -> None:
    """A refusal is counted once its response is written, which the client may read earlier."""
    await until(lambda: gateway.metric("gateway_auth_failures_total", reason=reason) == number)


async def test_the_nearest_token_that_breaks_one_rule_is_refused_with_its_reason(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    async with start_gateway(rate_limits="user=600/60s") as gateway:
        for rule, (reason, token) in nearest_bad_tokens(provider).items():
            before = gateway.metric("gateway_auth_failures_total", reason=reason)
            response = await get(gateway, f"Bearer {token}")
            assert response.status_code == 401, rule
            assert_problem(response, 401, "invalid_token")
            assert refusal(response) == explained(reason), rule
            await counted(gateway, reason, before + 1)
        assert upstream.requests == []


def nearest_good_tokens(provider: Provider) -> dict[str, str]:
    signer, now = provider.signer, int(time.time())
    good = good_claims(provider.issuer)
    return {
        "expired within the leeway": provider.token(iat=now - 100, exp=now - 5),
        "valid from within the leeway": provider.token(nbf=now + 5),
        "a day long": provider.token(exp=now + 24 * 3600),
        "audience in a list": provider.token(aud=["other", "todos"]),
        "azp for want of an audience": provider.token(aud=None, azp="todos"),
        "azp of an at+jwt": signer.token(good_claims(provider.issuer, aud=None, azp="todos"), typ="at+jwt"),
        "client_id for want of an audience": provider.token(aud=None, client_id="todos"),
        "client_id, without a typ": signer.token(good_claims(provider.issuer, aud=None, client_id="todos"), typ=None),
        "client_id and azp": provider.token(aud=None, client_id="todos", azp="todos"),
        "another client_id beside the right audience": provider.token(client_id="app", azp="page"),
        "no iat": provider.token(iat=None),
        "exp with a fraction": provider.token(exp=now + 60.5),
        "the longest sub": provider.token(sub="~" * 255),
        "the longest sub in UTF-8": provider.token(sub="é" * 127 + "e"),
        "150 groups": provider.token(groups=[str(uuid4()) for _ in range(150)]),
        "typ absent": signer.token(good, typ=None),
        "typ at+jwt": signer.token(good, typ="AT+jwt"),
        "typ application/at+jwt": signer.token(good, typ="application/at+jwt"),
        "typ application/jwt": signer.token(good, typ="Application/JWT"),
        "typ and kid null": null_header(signer, good),
        "other claims": provider.token(scope="a b", nested={"a": [1]}),
        "another header": signer.token(good, x5t="abc"),
        "no kid": signer.token(good, kid=None),
        "where others would look for the key": signer.token(
            good, jku="https://evil.example/jwks", x5u="https://evil.example", x5c=["MII"], jwk={"kty": "RSA"}
        ),
    }


async def test_the_nearest_token_that_breaks_no_rule_passes(gateway: Running, provider: Provider) -> None:
    for rule, token in nearest_good_tokens(provider).items():
        response = await get(gateway, f"Bearer {token}")
        assert response.status_code == 200, rule


async def test_of_a_forged_token_nobody_learns_which_claims_would_do(gateway: Running, provider: Provider) -> None:
    """RFC 6750 section 3.1: `error_description` is for developers, who have a token of the issuer."""
    now, forger = int(time.time()), Signer(private=rsa_key(1))
    changes: list[dict[str, Any]] = [
        {},
        {"aud": "other"},
        {"exp": now - 100, "iat": now - 200},
        {"nbf": now + 100},
        {"sub": None},
        {"events": {}},
    ]
    for change in changes:
        response = await get(gateway, f"Bearer {forger.token(good_claims(provider.issuer, **change))}")
        assert refusal(response) == explained("signature"), change
    unknown = Signer(kid="k2", private=rsa_key(1))
    answers = {
        (response.status_code, response.text.replace(response.headers["x-request-id"], ""))
        for change in changes
        for response in [await get(gateway, f"Bearer {unknown.token(good_claims(provider.issuer, **change))}")]
    }
    assert [status for status, _ in answers] == [401]


async def test_an_explanation_is_the_same_whatever_the_token_says(gateway: Running, provider: Provider) -> None:
    """Neither a header nor a page can be written into by a claim (RFC 6750 section 3: no quote, no control)."""
    hostile = 'x", Basic realm="y\r\nSet-Cookie: a=b <script>'
    for reason, change in (("issuer", {"iss": hostile}), ("audience", {"aud": hostile}), ("claims", {"exp": hostile})):
        response = await get(gateway, f"Bearer {provider.token(**change)}")
        assert refusal(response) == explained(reason)
        assert "set-cookie" not in response.headers
        assert "script" not in response.text
    response = await get(gateway, f"Bearer {provider.signer.token(good_claims(provider.issuer), alg=hostile)}")
    assert refusal(response) == explained("algorithm")


async def test_refusals_are_explained_only_where_the_setting_allows_it(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with start_gateway(explain_refusals="false", rate_limits="user=600/60s") as gateway:
        for rule, (_, token) in nearest_bad_tokens(provider).items():
            response = await get(gateway, f"Bearer {token}")
            assert refusal(response) == (INVALID_TOKEN, "The token is not accepted."), rule


async def test_a_token_may_be_as_long_as_the_setting_says_and_a_longer_one_is_no_attack(
    start_gateway: StartGateway, provider: Provider
) -> None:
    token, longer = (provider.token(padding="x" * length) for length in (2000, 2001))
    async with start_gateway(max_token_bytes=len(token), rate_limits="auth-failure=3/3600s") as gateway:
        assert (await get(gateway, f"Bearer {token}")).status_code == 200
        for _ in range(5):
            assert_problem(await get(gateway, f"Bearer {longer}"), 401, "invalid_token")
        assert gateway.metric("gateway_auth_failures_total", reason="too_large") == 5


async def test_the_longest_token_that_can_be_allowed_passes_beside_a_browsers_headers(
    start_gateway: StartGateway, provider: Provider
) -> None:
    token = provider.token(padding="x" * 17_700)
    assert 24_000 < len(token) <= 24 * 1024
    async with start_gateway(max_token_bytes=24 * 1024) as gateway:
        headers = {"Authorization": f"Bearer {token}", "Cookie": "c" * 4096, "User-Agent": "u" * 200}
        assert (await gateway.client.get("/v1/todos", headers=headers)).status_code == 200


@pytest.mark.parametrize("leeway", [0, 300])
async def test_clocks_may_differ_by_the_leeway_and_no_more(
    start_gateway: StartGateway, provider: Provider, leeway: int
) -> None:
    """RFC 7519 sections 4.1.4 and 4.1.5: `exp` is the first second that is too late, `nbf` the first that is not."""
    clock = MovingClock()
    now = int(clock.clock.wall())
    async with start_gateway(clock=clock.clock, leeway=leeway, rate_limits="user=600/60s") as gateway:
        for expires, status in ((now - leeway, 401), (now - leeway + 1, 200)):
            token = provider.token(iat=now - 900, exp=expires)
            assert (await get(gateway, f"Bearer {token}")).status_code == status
        for claim in ("nbf", "iat"):
            for starts, status in ((now + leeway + 2, 401), (now + leeway, 200)):
                token = provider.token(**{"iat": now, "exp": now + 900, claim: starts})
                assert (await get(gateway, f"Bearer {token}")).status_code == status


async def test_the_types_that_a_token_may_have_can_be_fewer(start_gateway: StartGateway, provider: Provider) -> None:
    """RFC 9068 section 4: who demands its tokens refuses an ID token, which has another type, and one without."""
    good = good_claims(provider.issuer)
    async with start_gateway(token_types="at+jwt") as gateway:
        for typ, status in (("AT+JWT", 200), ("application/at+jwt", 200), ("JWT", 401), (None, 401), ("", 401)):
            token = provider.signer.token(good, typ=typ)
            assert (await get(gateway, f"Bearer {token}")).status_code == status, typ
        assert (await get(gateway, f"Bearer {null_header(provider.signer, good)}")).status_code == 401


async def test_a_token_must_have_the_required_claims_with_their_very_values(
    start_gateway: StartGateway, provider: Provider
) -> None:
    required = json.dumps({"token_use": "access", "tier": 1, "email_verified": True})
    good: dict[str, Any] = {"token_use": "access", "tier": 1, "email_verified": True}
    near: list[dict[str, Any]] = [
        {"token_use": "id"},
        {"token_use": "Access"},
        {"token_use": ["access"]},
        {"token_use": None},
        {"tier": True},
        {"tier": "1"},
        {"tier": 1.0},
        {"tier": 2},
        {"email_verified": 1},
        {"email_verified": "true"},
        {"email_verified": False},
    ]
    async with start_gateway(required_claims=required, rate_limits="user=600/60s") as gateway:
        assert (await get(gateway, f"Bearer {provider.token(**good)}")).status_code == 200
        for change in near:
            response = await get(gateway, f"Bearer {provider.token(**{**good, **change})}")
            assert response.status_code == 401, change
        assert gateway.metric("gateway_auth_failures_total", reason="claims") == len(near)


async def test_another_claim_may_hold_the_user(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    async with start_gateway(user_claim="user_id") as gateway:
        assert (await get(gateway, f"Bearer {provider.token(user_id='u-7')}")).status_code == 200
        assert (await get(gateway, f"Bearer {provider.token()}")).status_code == 401
    assert [request["x-user-id"] for request in upstream.requests] == ["u-7"]


@pytest.mark.parametrize("path", ["/", "/v2", "/healthz/live", "/metrics", "/docs", "/openapi.json"])
async def test_authentication_comes_before_not_found_and_there_is_nothing_else(
    gateway: Running, upstream: ScriptedServer, path: str
) -> None:
    assert_problem(await gateway.client.get(path), 401, "unauthenticated")
    assert upstream.requests == []


@pytest.mark.parametrize(("lifetime", "remembered"), [(600, 60), (30, 30)])
async def test_a_token_is_remembered_until_it_expires_and_for_a_minute_at_most(
    start_gateway: StartGateway, provider: Provider, monkeypatch: pytest.MonkeyPatch, lifetime: int, remembered: int
) -> None:
    verified: list[str] = []
    verifies = Key.verifies

    def counting(key: Key, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        verified.append(algorithm)
        return verifies(key, algorithm, signing_input, signature)

    monkeypatch.setattr(Key, "verifies", counting)
    clock = MovingClock()
    async with start_gateway(clock=clock.clock) as gateway:
        token = provider.token(exp=int(time.time()) + lifetime)
        for passed, verifications in [(0, 1), (remembered - 2, 1), (3, 2)]:
            clock.move(passed)
            assert (await get(gateway, f"Bearer {token}")).status_code == 200
            assert len(verified) == verifications


async def test_a_token_that_is_remembered_still_expires(start_gateway: StartGateway, provider: Provider) -> None:
    clock = MovingClock()
    async with start_gateway(clock=clock.clock) as gateway:
        token = provider.token(exp=int(time.time()) + 30)
        assert (await get(gateway, f"Bearer {token}")).status_code == 200
        clock.move(29)
        assert (await get(gateway, f"Bearer {token}")).status_code == 200
        clock.move(12)
        assert_problem(await get(gateway, f"Bearer {token}"), 401, "invalid_token")
