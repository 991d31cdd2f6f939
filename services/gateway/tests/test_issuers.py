"""Several issuers, the scopes of their tokens, and keys from a file."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from gateway_harness import Provider, Running, StartGateway

from devtools.testing.servers import ScriptedServer, reply, scripted_server
from devtools.testing.tokens import Signer, good_claims, rsa_key


@pytest.fixture
async def other_provider() -> AsyncIterator[Provider]:
    async with scripted_server(lambda _request: reply(status=500)) as server:
        made = Provider(server, Signer("k1", "ES256", ec.generate_private_key(ec.SECP256R1())))
        server.answer = made.answer
        yield made


def issuers(*providers: tuple[Provider, str, str]) -> str:
    return json.dumps(
        [
            {"issuer": provider.issuer, "audience": "todos", "algorithms": algorithm, "user_prefix": prefix}
            for provider, algorithm, prefix in providers
        ]
    )


async def status(gateway: Running, token: str, method: str = "GET") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return (await gateway.client.request(method, "/v1/todos", headers=headers)).status_code


async def test_one_sub_of_two_issuers_is_two_users(
    start_gateway: StartGateway, provider: Provider, other_provider: Provider, upstream: ScriptedServer
) -> None:
    both = issuers((provider, "RS256", "one|"), (other_provider, "ES256", "other|"))
    async with start_gateway(issuer="", audience="", issuers=both) as gateway:
        assert await status(gateway, provider.token()) == 200
        assert await status(gateway, other_provider.token()) == 200
        assert [request["x-user-id"] for request in upstream.requests] == ["one|alice", "other|alice"]


async def test_an_issuer_may_have_several_names_for_the_same_users(
    start_gateway: StartGateway, provider: Provider, other_provider: Provider, upstream: ScriptedServer
) -> None:
    """RFC 7519 section 4.1.1: `iss` is compared to the letter. The keys are those of the issuer."""
    old = "https://old.example"
    entries = json.loads(issuers((provider, "RS256,ES256", "one|"), (other_provider, "ES256", "other|")))
    entries[0]["names"] = [old]
    async with start_gateway(issuer="", audience="", issuers=json.dumps(entries)) as gateway:
        for name in (provider.issuer, old):
            assert await status(gateway, provider.token(iss=name)) == 200
            assert await status(gateway, other_provider.token(iss=name)) == 401
        assert gateway.metric("gateway_auth_failures_total", reason="algorithm") == 2
        for name in (old + "/", old.upper(), "https://old.example.evil.example"):
            assert await status(gateway, provider.token(iss=name)) == 401
        assert gateway.metric("gateway_auth_failures_total", reason="issuer") == 3
    assert [request["x-user-id"] for request in upstream.requests] == ["one|alice"] * 2


async def test_an_issuers_own_types_and_claims_take_the_place_of_the_common_ones(
    start_gateway: StartGateway, provider: Provider, other_provider: Provider
) -> None:
    entries = json.loads(issuers((provider, "RS256", "one|"), (other_provider, "ES256", "other|")))
    entries[0] |= {"token_types": ["at+jwt"], "required_claims": {"token_use": "access"}}
    changes = {"token_types": "JWT", "required_claims": '{"tier": 1}', "issuers": json.dumps(entries)}

    def token(one: Provider, typ: str, **claims: object) -> str:
        return one.signer.token(good_claims(one.issuer, **claims), typ=typ)

    async with start_gateway(issuer="", audience="", **changes) as gateway:
        assert await status(gateway, token(provider, "at+jwt", token_use="access")) == 200
        assert await status(gateway, token(provider, "JWT", token_use="access")) == 401
        assert await status(gateway, token(provider, "at+jwt", tier=1)) == 401
        assert await status(gateway, token(other_provider, "JWT", tier=1)) == 200
        assert await status(gateway, token(other_provider, "at+jwt", tier=1)) == 401
        assert await status(gateway, token(other_provider, "JWT", token_use="access")) == 401


async def test_an_issuer_cannot_speak_for_another(
    start_gateway: StartGateway, provider: Provider, other_provider: Provider, upstream: ScriptedServer
) -> None:
    both = issuers((provider, "RS256", "one|"), (other_provider, "ES256", "other|"))
    async with start_gateway(issuer="", audience="", issuers=both) as gateway:
        forged = other_provider.signer.token(good_claims(provider.issuer))
        assert await status(gateway, forged) == 401
        assert gateway.metric("gateway_auth_failures_total", reason="algorithm") == 1
        third = provider.signer.token(good_claims("https://third.example"))
        assert await status(gateway, third) == 401
        assert gateway.metric("gateway_auth_failures_total", reason="issuer") == 1
    assert upstream.requests == []


async def test_one_issuers_outage_is_not_the_others(
    start_gateway: StartGateway, provider: Provider, other_provider: Provider
) -> None:
    both = issuers((provider, "RS256", "one|"), (other_provider, "ES256", "other|"))
    async with start_gateway(issuer="", audience="", issuers=both) as gateway:
        await other_provider.server.stop()
        unknown = Signer("k2", "ES256", ec.generate_private_key(ec.SECP256R1()))
        assert await status(gateway, provider.token()) == 200
        assert await status(gateway, unknown.token(good_claims(other_provider.issuer))) == 503
        assert await status(gateway, other_provider.token()) == 200


@pytest.mark.parametrize(
    "signer",
    [
        *(Signer("k1", algorithm) for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        Signer("k1", "ES256", ec.generate_private_key(ec.SECP256R1())),
        Signer("k1", "ES384", ec.generate_private_key(ec.SECP384R1())),
        Signer("k1", "ES512", ec.generate_private_key(ec.SECP521R1())),
        Signer("k1", "EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=lambda signer: signer.algorithm,
)
async def test_every_asymmetric_algorithm_verifies_and_only_where_it_is_allowed(
    start_gateway: StartGateway, provider: Provider, signer: Signer
) -> None:
    provider.jwks = {"keys": [signer.jwk()]}
    token = signer.token(good_claims(provider.issuer))
    async with start_gateway(algorithms=signer.algorithm) as gateway:
        assert await status(gateway, token) == 200
        assert await status(gateway, token[:-6] + "AAAAAA") == 401
    async with start_gateway(algorithms="PS256" if signer.algorithm == "RS256" else "RS256") as gateway:
        assert await status(gateway, token) == 401


@pytest.mark.parametrize("setting", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("in_token", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("in_key", ["EdDSA", "Ed25519", None])
async def test_ed25519_is_a_name_of_eddsa(
    start_gateway: StartGateway, provider: Provider, setting: str, in_token: str, in_key: str | None
) -> None:
    """RFC 9864 section 2.2, RFC 8037 section 3.1. Beside it: names of other curves, cases and algorithms."""
    signer = Signer("k1", "EdDSA", ed25519.Ed25519PrivateKey.generate())
    provider.jwks = {"keys": [signer.jwk(alg=in_key)]}
    async with start_gateway(algorithms=setting) as gateway:
        good = good_claims(provider.issuer)
        assert await status(gateway, signer.token(good, alg=in_token)) == 200
        for name in ("Ed448", "ed25519", "EDDSA", "ES256", "HS256", "none"):
            assert await status(gateway, signer.token(good, alg=name)) == 401
        assert gateway.metric("gateway_auth_failures_total", reason="algorithm") == 6


CURVES = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}


async def test_no_key_verifies_an_algorithm_of_another_type_curve_or_hash(
    start_gateway: StartGateway, provider: Provider
) -> None:
    """RFC 7518 section 3.4 binds each ECDSA algorithm to one curve; RFC 8725 section 3.1 algorithms to keys.

    The set has one key of each type under one key id, each signs with its own hash under the name of another.
    """
    signers = [Signer("k1", name, private) for name, private in CURVES.items()]
    signers += [Signer("k1", "RS256"), Signer("k1", "EdDSA", ed25519.Ed25519PrivateKey.generate())]
    provider.jwks = {"keys": [signer.jwk(alg=None) for signer in signers]}
    names = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")
    async with start_gateway(algorithms=",".join(names), rate_limits="user=600/60s") as gateway:
        for signer in signers:
            good = good_claims(provider.issuer)
            assert await status(gateway, signer.token(good)) == 200
            for name in names:
                if name != signer.algorithm:
                    assert await status(gateway, signer.token(good, alg=name)) == 401, (signer.algorithm, name)
            assert await status(gateway, signer.hs256_with_public_key(good)) == 401


async def test_an_attackers_key_in_the_set_cannot_speak_under_another_keys_id(
    start_gateway: StartGateway, provider: Provider
) -> None:
    """RFC 7517 section 4.5. Whoever gets a key into the set under an id that is there stops that id, and no more."""
    attacker = Signer("k1", private=rsa_key(1))
    encryption = Signer("k1", private=rsa_key(2)).jwk(use="enc", alg="RSA-OAEP")
    provider.jwks = {"keys": [provider.signer.jwk(), encryption, provider.signer.jwk(use=None)]}
    good = good_claims(provider.issuer)
    async with start_gateway() as gateway:
        assert await status(gateway, provider.token()) == 200
        assert await status(gateway, Signer("k1", private=rsa_key(2)).token(good)) == 401
    provider.jwks = {"keys": [provider.signer.jwk(), attacker.jwk(), Signer("k2").jwk()]}
    async with start_gateway() as gateway:
        assert await status(gateway, attacker.token(good)) == 401
        assert await status(gateway, provider.token()) == 401
        assert gateway.metric("gateway_auth_failures_total", reason="unknown_key") == 2
        assert await status(gateway, Signer("k2").token(good)) == 200
    provider.jwks = {"keys": [provider.signer.jwk(), Signer("k1", "PS256", rsa_key(1)).jwk()]}
    async with start_gateway(algorithms="RS256,PS256") as gateway:
        assert await status(gateway, provider.token()) == 200
        assert await status(gateway, attacker.token(good)) == 401
        assert await status(gateway, Signer("k1", "PS256").token(good)) == 401


async def test_a_key_serves_only_the_algorithm_it_names(start_gateway: StartGateway, provider: Provider) -> None:
    token = Signer("k1", "PS256").token(good_claims(provider.issuer))
    async with start_gateway(algorithms="RS256,PS256") as gateway:
        assert await status(gateway, token) == 401
        assert gateway.metric("gateway_auth_failures_total", reason="algorithm") == 1


async def test_a_method_needs_its_scope(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    async with start_gateway(required_scopes="read=todos:read,write=todos:write") as gateway:
        reader, writer = provider.token(scope="openid todos:read"), provider.token(scp=["todos:read", "todos:write"])
        assert await status(gateway, reader) == 200
        assert await status(gateway, writer, "POST") == 200
        headers = {"Authorization": f"Bearer {reader}"}
        response = await gateway.client.post("/v1/todos", headers=headers)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
        challenge = 'Bearer error="insufficient_scope", scope="todos:write"'
        assert response.headers["www-authenticate"] == challenge
        for odd in ("todos:reader", "", {"todos:read": True}, ["todos:read todos:write"]):
            assert await status(gateway, provider.token(scope=odd)) == 403
        assert await status(gateway, provider.token()) == 403
        assert gateway.metric("gateway_auth_failures_total", reason="scope") == 6
    assert len(upstream.requests) == 2


async def test_keys_from_a_file_serve_while_the_provider_is_away(
    start_gateway: StartGateway, provider: Provider, tmp_path: Path
) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({provider.issuer: provider.jwks}))
    await provider.server.stop()
    async with start_gateway(jwks_file=path) as gateway:
        assert await status(gateway, provider.token()) == 200
        assert gateway.metric("gateway_jwks_stale", issuer=provider.issuer) == 1
        unknown = Signer("k2", private=rsa_key(1)).token(good_claims(provider.issuer))
        assert await status(gateway, unknown) == 503
