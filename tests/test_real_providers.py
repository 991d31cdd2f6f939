"""Real identity providers and the pair: from signing up to being signed out, over a rotation of their keys.

Better Auth and oidc-provider, from npm, on loopback; the gateway has the settings of the pages of docs/providers.
"""

import base64
import hashlib
import html
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from devtools.testing.provider_pages import settings_of_page
from tests.node_provider import (
    INSTALL_SECONDS,
    NODE,
    NPM,
    NodeProvider,
    gateway_settings,
    install,
    running_gateway,
    running_provider,
)
from tests.pair import Pair

RESOURCE = "https://todos.example.com"
MAX_STEPS = 10

pytestmark = [
    pytest.mark.external,
    pytest.mark.timeout(INSTALL_SECONDS + 60),
    pytest.mark.skipif(NODE is None or NPM is None, reason="node and npm are not installed (Node.js 20 or newer)"),
]


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    install()


def decoded(part: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return members


def header_of(token: str) -> dict[str, Any]:
    return decoded(token.partition(".")[0])


def claims_of(token: str) -> dict[str, Any]:
    return decoded(token.split(".")[1])


async def status(gateway: httpx.AsyncClient, token: str) -> int:
    return (await gateway.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})).status_code


async def titles(gateway: httpx.AsyncClient, token: str) -> list[str]:
    answer = await gateway.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return [todo["title"] for todo in answer.json()]


async def add(gateway: httpx.AsyncClient, token: str, title: str) -> None:
    answer = await gateway.post("/v1/todos", json={"title": title}, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 201, answer.text


def revoke(pair: Pair, settings: Mapping[str, str], sub: str) -> None:
    """As an operator does, with the gateway's own settings."""
    program = Path(sys.executable).with_name("gateway")
    environment = {**os.environ, **gateway_settings(pair, settings)}
    subprocess.run([program, "revoke", "--sub", sub], env=environment, check=True, capture_output=True, timeout=30)


def better_auth_settings(provider: NodeProvider) -> dict[str, str]:
    page = settings_of_page("better-auth")
    return {name: value.replace("https://app.example.com", provider.url) for name, value in page.items()}


async def sign_up(provider: NodeProvider) -> None:
    user = {"name": "Alice", "email": f"{secrets.token_hex(8)}@example.com", "password": secrets.token_hex(16)}
    (await provider.browser.post("/api/auth/sign-up/email", json=user)).raise_for_status()


async def better_auth_token(provider: NodeProvider) -> str:
    answer = await provider.browser.get("/api/auth/token")
    answer.raise_for_status()
    return str(answer.json()["token"])


@pytest.fixture
async def better_auth() -> AsyncIterator[NodeProvider]:
    async with running_provider("better-auth") as provider:
        yield provider


async def test_a_user_of_better_auth_keeps_a_todo_over_a_rotation_and_until_revoked(
    pair: Pair, better_auth: NodeProvider
) -> None:
    settings = better_auth_settings(better_auth)
    await sign_up(better_auth)
    async with running_gateway(pair, settings) as gateway:
        before = await better_auth_token(better_auth)
        await add(gateway, before, "Buy milk")

        await better_auth.rotate()
        after = await better_auth_token(better_auth)
        assert header_of(after)["kid"] != header_of(before)["kid"]
        assert [await titles(gateway, token) for token in (after, before)] == [["Buy milk"]] * 2

        (await better_auth.browser.post("/api/auth/sign-out", json={})).raise_for_status()
        assert (await better_auth.browser.get("/api/auth/token")).status_code == 401
        assert await status(gateway, after) == 200  # a token outlives the sign-out, as the page says
        revoke(pair, settings, claims_of(after)["sub"])
        assert [await status(gateway, token) for token in (after, before)] == [401, 401]


async def test_tokens_of_another_better_auth_are_refused(pair: Pair, better_auth: NodeProvider) -> None:
    """The nearest attack: the same software, another address, and so another issuer, audience and keys."""
    async with (
        running_provider("better-auth") as other,
        running_gateway(pair, better_auth_settings(better_auth)) as gateway,
    ):
        for provider, expected in ((better_auth, 200), (other, 401)):
            await sign_up(provider)
            assert await status(gateway, await better_auth_token(provider)) == expected


async def test_what_better_auth_issues_is_as_its_page_says(better_auth: NodeProvider) -> None:
    await sign_up(better_auth)
    token = await better_auth_token(better_auth)
    claims = claims_of(token)
    assert claims["iss"] == claims["aud"] == better_auth.url
    assert "jti" not in claims
    assert claims["exp"] - claims["iat"] == 15 * 60
    assert header_of(token).keys() == {"alg", "kid"}
    [key] = (await better_auth.browser.get("/api/auth/jwks")).json()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["kid"]) == ("OKP", "Ed25519", "EdDSA", header_of(token)["kid"])
    assert (await better_auth.browser.get("/.well-known/openid-configuration")).status_code == 404


@pytest.fixture
async def oidc_provider() -> AsyncIterator[NodeProvider]:
    async with running_provider("oidc-provider") as provider:
        yield provider


async def follow(provider: NodeProvider, answer: httpx.Response, user: str) -> httpx.Response:
    """Go where the provider leads, and log in and consent where it asks, until it leads back to the frontend."""
    for _ in range(MAX_STEPS):
        if answer.is_redirect:
            target = str(answer.next_request.url) if answer.next_request else ""
            if urlsplit(target).path in ("/signed-in", "/signed-out"):
                return answer
            answer = await provider.browser.get(target)
        else:
            assert answer.status_code == 200, answer.text
            [action] = re.findall(r'<form[^>]* action="([^"]+)"', answer.text)
            fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
            form = {**fields, "login": user, "password": "any", "logout": "yes"}
            answer = await provider.browser.post(html.unescape(action), data=form)
    raise AssertionError(f"no way back to the frontend after {MAX_STEPS} steps")


async def code_flow(provider: NodeProvider, user: str) -> dict[str, str]:
    """The tokens of the authorization code flow with PKCE (RFC 7636) for the todos' resource (RFC 8707)."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    frontend = {"client_id": "frontend", "redirect_uri": f"{provider.url}/signed-in", "resource": RESOURCE}
    question = {
        **frontend,
        "response_type": "code",
        "scope": "openid todos",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    back = await follow(provider, await provider.browser.get("/auth", params=question), user)
    [code] = parse_qs(urlsplit(back.headers["location"]).query)["code"]
    form = {**frontend, "grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    answer = await provider.browser.post("/token", data=form)
    answer.raise_for_status()
    tokens: dict[str, str] = answer.json()
    return tokens


async def test_a_user_of_oidc_provider_keeps_a_todo_over_a_rotation_and_until_revoked(
    pair: Pair, oidc_provider: NodeProvider
) -> None:
    settings = {"GATEWAY_ISSUER": oidc_provider.url, "GATEWAY_AUDIENCE": RESOURCE, "GATEWAY_TOKEN_TYPES": "at+jwt"}
    user = f"alice-{secrets.token_hex(8)}"
    async with running_gateway(pair, settings) as gateway:
        before = await code_flow(oidc_provider, user)
        await add(gateway, before["access_token"], "Buy milk")
        assert await status(gateway, before["id_token"]) == 401

        await oidc_provider.rotate()
        after = await code_flow(oidc_provider, user)
        assert header_of(after["access_token"])["kid"] != header_of(before["access_token"])["kid"]
        for tokens in (after, before):
            assert await titles(gateway, tokens["access_token"]) == ["Buy milk"]

        out = {"id_token_hint": after["id_token"], "post_logout_redirect_uri": f"{oidc_provider.url}/signed-out"}
        await follow(oidc_provider, await oidc_provider.browser.get("/session/end", params=out), user)
        silent = {"client_id": "frontend", "redirect_uri": f"{oidc_provider.url}/signed-in", "response_type": "code"}
        again = await oidc_provider.browser.get(
            "/auth",
            params={
                **silent,
                "scope": "openid",
                "prompt": "none",
                "code_challenge": "x" * 43,
                "code_challenge_method": "S256",
            },
        )
        assert "error=login_required" in again.headers["location"]
        revoke(pair, settings, user)
        assert [await status(gateway, tokens["access_token"]) for tokens in (after, before)] == [401, 401]


async def test_a_token_of_oidc_provider_for_another_resource_is_refused(
    pair: Pair, oidc_provider: NodeProvider
) -> None:
    settings = {"GATEWAY_ISSUER": oidc_provider.url, "GATEWAY_AUDIENCE": "https://billing.example.com"}
    tokens = await code_flow(oidc_provider, "alice")
    async with running_gateway(pair, settings) as gateway:
        assert await status(gateway, tokens["access_token"]) == 401
