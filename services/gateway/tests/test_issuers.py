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
