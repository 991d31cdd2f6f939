"""`gateway explain`: the gateway's own verdict on a token, rule by rule."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway_harness import Provider, StartGateway, settings_of

from devtools.testing.servers import ScriptedServer, reply
from devtools.testing.tokens import Signer, good_claims, rsa_key
from devtools.valkey import LocalValkey

GATEWAY = str(Path(sys.executable).with_name("gateway"))


class Explain:
    """Runs `gateway explain` with the settings of a good gateway, some of them changed."""

    def __init__(self, provider: Provider, upstream: ScriptedServer) -> None:
        self.provider = provider
        self._upstream = upstream

    async def __call__(self, given: str | bytes, **changes: object) -> tuple[int, list[str]]:
        settings = settings_of(self.provider, self._upstream, **changes)
        ended = await asyncio.to_thread(
            subprocess.run,
            [GATEWAY, "explain"],
            env=os.environ | settings,
            input=given.encode() if isinstance(given, str) else given,
            capture_output=True,
            check=False,
            timeout=30,
        )
        assert ended.stderr == b""
        return ended.returncode, ended.stdout.decode("ascii").splitlines()


@pytest.fixture
async def explain(provider: Provider, upstream: ScriptedServer) -> AsyncIterator[Explain]:
    yield Explain(provider, upstream)
    assert upstream.requests == [], "a token is explained without a request"


def rule_of(line: str) -> str:
    return line[9:].partition(":")[0]


async def test_a_good_token_is_explained_from_its_form_to_its_user_and_limits(explain: Explain) -> None:
    code, lines = await explain(explain.provider.token(scope="todos:read"), required_scopes="read=todos:read")
    assert code == 0
    assert [rule_of(line) for line in lines[:15]] == [
        "Authorization",
        "size",
        "JWT",
        "issuer",
        "algorithm",
        "type",
        "key",
        "signature",
        "audience",
        "required claims",
        "user",
        "expiry",
        "start",
        "lifetime",
        "bearer",
    ]
    assert all(line.startswith("ok ") for line in lines[:17])
    assert 'ok       audience: aud="todos"; wanted: "todos"' in lines
    assert lines[-5:] == [
        "user     alice",
        'scopes   ["todos:read"]',
        "reading  allowed",
        "writing  allowed",
        "limits   user=600/60s, user-write=120/60s",
    ]


@pytest.mark.parametrize(
    "form", ["{}", "{}\n", "{}\r\n", "  {} ", "Bearer {}\n", "bearer {}", "Authorization: Bearer {}\r\n"]
)
async def test_a_token_is_taken_as_a_person_pastes_it(explain: Explain, form: str) -> None:
    assert (await explain(form.format(explain.provider.token())))[0] == 0


@pytest.mark.parametrize("nothing", ["", "\n", "  \r\n"])
async def test_an_empty_input_is_named(explain: Explain, nothing: str) -> None:
    assert await explain(nothing) == (1, ["There is no token on standard input."])


def refused_tokens(provider: Provider) -> dict[str, tuple[str, str]]:
    """A token for each rule that it breaks, and the reason."""
    signer, issuer = provider.signer, provider.issuer

    def claims(**changes: Any) -> str:
        return signer.token(good_claims(issuer, **changes))

    return {
        "Authorization": ("malformed", "two words"),
        "size": ("too_large", claims(padding="x" * 16384)),
        "JWT": ("malformed", "opaque"),
        "issuer": ("issuer", claims(iss="https://other.example")),
        "algorithm": ("algorithm", signer.hs256_with_public_key(good_claims(issuer))),
        "type": ("malformed", signer.token(good_claims(issuer), typ="logout+jwt")),
        "key": ("unknown_key", Signer(kid="k2").token(good_claims(issuer))),
        "signature": ("signature", Signer(private=rsa_key(1)).token(good_claims(issuer, aud="other"))),
        "audience": ("audience", claims(aud="other")),
        "required claims": ("claims", claims(events={})),
        "user": ("claims", claims(sub=None)),
        "expiry": ("expired", claims(iat=1, exp=2)),
        "start": ("not_yet_valid", claims(nbf=4102444800)),
        "lifetime": ("claims", claims(iat=1)),
        "bearer": ("bound", claims(cnf={"jkt": "x"})),
        "token id": ("claims", claims(jti=7)),
    }


async def test_the_rule_that_refuses_is_the_gateways_own_and_the_last_line_has_its_reason(
    explain: Explain, start_gateway: StartGateway
) -> None:
    """The gateway answers each token as it was explained."""
    async with start_gateway(rate_limits="user=600/60s") as gateway:
        for rule, (reason, token) in refused_tokens(explain.provider).items():
            code, lines = await explain(token)
            assert (code, lines[-2].split()[0], rule_of(lines[-2])) == (1, "REFUSED", rule), lines
            assert all(line.startswith("ok ") for line in lines[:-2])
            response = await gateway.client.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
            answered = f"would be answered {response.status_code} {response.json()['code']}, with the reason {reason}"
            assert lines[-1] == answered
            assert gateway.metric("gateway_auth_failures_total", reason=reason) >= 1


async def test_neither_the_token_nor_its_signature_nor_a_control_character_is_printed(explain: Explain) -> None:
    """A claim that would clear the terminal, or write a line of its own, comes out as JSON in ASCII."""
    hostile = "\x1b[2J\x9b\r\nok       signature: forged \u202e"
    for changes in ({}, {"aud": hostile}, {"sub": hostile}, {"scope": hostile, "jti": hostile}):
        token = explain.provider.token(**changes)
        _, lines = await explain(token)
        shown = "\n".join(lines)
        assert not any(part in shown for part in (token, *token.split(".")))
        assert shown.replace("\n", "").isprintable()
        assert not any(line.startswith("ok       signature: forged") for line in lines)
    _, [*_, line, _] = await explain(explain.provider.token(aud="x" * 9000))
    assert "(9006 characters)" in line
    assert len(line) < 400
    explain.provider.jwks = {"keys": [Signer(kid="\x1b[2J").jwk(), explain.provider.signer.jwk()]}
    _, lines = await explain(explain.provider.token())
    assert 'ok       key: kid="k1" alg="RS256"; wanted: "\\u001b[2J" or "k1"' in lines


async def test_a_token_that_lacks_every_scope_is_refused_and_one_that_lacks_one_is_not(explain: Explain) -> None:
    scopes = "read=todos:read,write=todos:write"
    code, lines = await explain(explain.provider.token(scope="todos:read"), required_scopes=scopes)
    assert (code, lines[-2]) == (0, "writing  REFUSED: The token lacks the scope todos:write.")
    assert (await explain(explain.provider.token(scope="other"), required_scopes=scopes))[0] == 1


async def test_a_revoked_token_is_refused_and_no_limit_is_charged(
    explain: Explain, own_valkey: Any, upstream: ScriptedServer
) -> None:
    valkey: LocalValkey = own_valkey()
    token, other = explain.provider.token(), explain.provider.token(sub="bob")
    assert "ok       revoked: no" in (await explain(token, redis_url=valkey.url))[1]
    assert valkey.command("DBSIZE") == 0
    environment = os.environ | settings_of(explain.provider, upstream, redis_url=valkey.url)
    revoked = await asyncio.to_thread(
        subprocess.run, [GATEWAY, "revoke", "--sub", "alice"], env=environment, check=True, capture_output=True
    )
    assert revoked.returncode == 0
    code, lines = await explain(token, redis_url=valkey.url)
    assert (code, "REFUSED  revoked: yes" in lines) == (1, True)
    assert (await explain(other, redis_url=valkey.url))[0] == 0
    code, lines = await explain(token, redis_url="redis://127.0.0.1:1")
    assert "unknown  revoked: Redis at 127.0.0.1:1: connection refused" in lines


async def test_without_keys_it_is_the_provider_and_not_the_token(explain: Explain) -> None:
    token = explain.provider.token()
    explain.provider.server.answer = lambda _request: reply(status=500)
    code, lines = await explain(token)
    assert (code, rule_of(lines[-2])) == (1, "key")
    assert lines[-1] == "would be answered 503 keys_unavailable, with the reason keys_unavailable"
