"""A provider whose keys cannot be fetched is named: where, and what kind of failure."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from gateway_harness import Provider, settings_of

from devtools.testing.servers import ScriptedServer, reply
from devtools.testing.unreachable import (
    ISSUER,
    UNRESOLVABLE,
    answers,
    hangs_up,
    refusing_port,
    self_signed,
    server,
    silent_port,
    tls,
)
from gateway.auth_errors import AuthenticationError
from gateway.keys import jwks_fetch
from gateway.keys.jwks_cache import JwksCache
from gateway.keys.jwks_fetch import JwksFetcher, JwksFetchError, jwks_client
from gateway.metrics import Metrics
from runtime.reachability import CLOSED, NO_TLS, REFUSED, TIMED_OUT, UNRESOLVED

EARLY_OR_NO_HTTP = "it closes the connection early, or does not speak HTTP"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with jwks_client() as opened:
        yield opened


def fetcher(client: httpx.AsyncClient, url: str) -> JwksFetcher:
    return JwksFetcher(client, issuer="https://id.example.com", jwks_url=url, allow_http=True)


async def fault(client: httpx.AsyncClient, port: int, scheme: str = "http", host: str = "127.0.0.1") -> str:
    with pytest.raises(JwksFetchError) as failed:
        await fetcher(client, f"{scheme}://{host}:{port}/jwks").fetch(None)
    found = failed.value.fault
    assert (found.host, found.port) == (host, port)
    return found.reason


@pytest.mark.parametrize(
    ("listening", "scheme", "expected"),
    [
        (refusing_port, "http", REFUSED),
        (refusing_port, "https", REFUSED),
        (silent_port, "http", TIMED_OUT),
        (lambda: server(hangs_up), "http", EARLY_OR_NO_HTTP),
        (lambda: server(hangs_up), "https", CLOSED),
        (lambda: server(answers(b"HTTP/1.1 200 OK\r\n\r\n")), "https", NO_TLS),
        (lambda: server(answers(b"+PONG\r\n")), "http", EARLY_OR_NO_HTTP),
    ],
)
async def test_a_provider_that_cannot_be_reached_is_named_with_the_kind_of_failure(
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    listening: Callable[[], AbstractContextManager[int]],
    scheme: str,
    expected: str,
) -> None:
    monkeypatch.setattr(jwks_fetch, "TIMEOUT_SECONDS", 0.5)
    with listening() as port:
        assert await fault(client, port, scheme) == expected


async def test_a_name_that_cannot_be_resolved_is_named(client: httpx.AsyncClient) -> None:
    assert await fault(client, 443, "https", UNRESOLVABLE) == UNRESOLVED


async def test_a_certificate_that_is_not_trusted_is_named_with_its_issuer(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    with server(tls(self_signed("localhost", tmp_path))) as port:
        reason = await fault(client, port, "https", "localhost")
    assert reason == f"its certificate, issued by {ISSUER}, is not trusted: self-signed certificate"


async def test_of_discovery_the_server_that_failed_is_named(client: httpx.AsyncClient, provider: Provider) -> None:
    provider.server.answer = lambda _request: reply(status=500)
    with pytest.raises(JwksFetchError) as failed:
        await JwksFetcher(client, issuer=provider.issuer, jwks_url=None, allow_http=True).fetch(None)
    assert str(failed.value) == f"127.0.0.1:{provider.server.port}: status 500"


async def test_a_failed_fetch_is_logged_with_host_port_and_reason(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with refusing_port() as port:
        cache = JwksCache(fetcher(client, f"http://127.0.0.1:{port}/jwks"), "https://id.example.com", Metrics())
        with pytest.raises(AuthenticationError, match="keys_unavailable"):
            await cache.key("k1", "RS256")
    [record] = caplog.records
    assert record.getMessage() == "JWKS fetch failed"
    assert record.__dict__["fields"] == {
        "issuer": "https://id.example.com",
        "host": "127.0.0.1",
        "port": port,
        "reason": REFUSED,
    }


def check(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("gateway")), "check"]
    environment = os.environ | settings
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


async def test_check_names_it_in_one_line(provider: Provider, upstream: ScriptedServer) -> None:
    settings = settings_of(provider, upstream)
    with refusing_port() as port:
        settings["GATEWAY_JWKS_URL"] = f"http://127.0.0.1:{port}/jwks"
        ended = await asyncio.to_thread(check, settings)
    assert (ended.returncode, ended.stderr) == (1, f"keys of {provider.issuer}: 127.0.0.1:{port}: {REFUSED}\n")
