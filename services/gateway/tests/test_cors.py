"""Pages of configured origins may read every answer, and nobody else's pages may."""

import pytest
from gateway_harness import Provider, Running, StartGateway

from devtools.testing.servers import ScriptedServer

APP = "https://app.example.com"
PREFLIGHT = {"Origin": APP, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}


async def test_a_preflight_is_answered_without_a_token(start_gateway: StartGateway, upstream: ScriptedServer) -> None:
    async with start_gateway(cors_origins=f"http://localhost:3000,{APP}") as gateway:
        response = await gateway.client.options("/v1/todos/1", headers=PREFLIGHT)
        assert response.status_code == 204
        assert response.headers["access-control-allow-origin"] == APP
        assert response.headers["access-control-allow-methods"] == "DELETE, GET, HEAD, PATCH, POST, PUT"
        allowed = (
            "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, DPoP, traceparent, tracestate, "
            "baggage, sentry-trace"
        )
        assert response.headers["access-control-allow-headers"] == allowed
        assert response.headers["access-control-max-age"] == "600"
        assert response.headers["vary"] == "Origin"
        assert response.headers["x-request-id"]
        assert "access-control-allow-credentials" not in response.headers
    assert upstream.requests == []


async def test_every_answer_to_a_configured_origin_may_be_read_errors_too(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with start_gateway(cors_origins=APP, rate_limits="user=1/60s") as gateway:
        good = {"Authorization": f"Bearer {provider.token()}", "Origin": APP}
        requests = [("/v1/todos", good, 200), ("/v1/todos", good, 429), ("/v1//todos", good, 400)]
        for path, headers, status in [*requests, ("/v1/todos", {"Origin": APP}, 401)]:
            response = await gateway.client.get(path, headers=headers)
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == APP
            assert response.headers["access-control-expose-headers"] == (
                "Accept-Patch, Allow, Content-Disposition, DPoP-Nonce, ETag, Link, Location, RateLimit, "
                "RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"
            )
            assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", APP + ".evil.example", "http://app.example.com", None]
)
async def test_other_origins_get_no_permission_and_no_preflight(
    start_gateway: StartGateway, provider: Provider, origin: str | None
) -> None:
    headers = {"Origin": origin} if origin else {}
    async with start_gateway(cors_origins=APP) as gateway:
        response = await gateway.client.options("/v1/todos", headers={**PREFLIGHT, "Origin": origin or ""})
        assert response.status_code == 401
        good = {"Authorization": f"Bearer {provider.token()}", **headers}
        for answer in (response, await gateway.client.get("/v1/todos", headers=good)):
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "origin", ["capacitor://localhost", "tauri://localhost", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"]
)
async def test_the_pages_of_apps_and_extensions_are_origins_too(
    start_gateway: StartGateway, provider: Provider, origin: str
) -> None:
    """An origin is a scheme, a host and a port, whatever the scheme (HTML standard, "serialization of an origin")."""
    async with start_gateway(cors_origins=f"{APP},{origin}") as gateway:
        preflight = await gateway.client.options("/v1/todos", headers={**PREFLIGHT, "Origin": origin})
        headers = {"Authorization": f"Bearer {provider.token()}", "Origin": origin}
        for response in (preflight, await gateway.client.get("/v1/todos", headers=headers)):
            assert response.headers["access-control-allow-origin"] == origin
        other = await gateway.client.options("/v1/todos", headers={**PREFLIGHT, "Origin": f"{origin}x"})
        assert "access-control-allow-origin" not in other.headers


async def test_more_request_headers_are_allowed_by_setting(start_gateway: StartGateway) -> None:
    async with start_gateway(cors_origins=APP, cors_headers="X-App-Version, x-datadog-trace-id") as gateway:
        response = await gateway.client.options("/v1/todos", headers=PREFLIGHT)
        allowed = response.headers["access-control-allow-headers"].split(", ")
        assert allowed[-2:] == ["X-App-Version", "x-datadog-trace-id"]
        assert "Authorization" in allowed


async def test_without_the_setting_there_is_no_cors_at_all(gateway: Running, provider: Provider) -> None:
    assert (await gateway.client.options("/v1/todos", headers=PREFLIGHT)).status_code == 401
    headers = {"Authorization": f"Bearer {provider.token()}", "Origin": APP}
    response = await gateway.client.get("/v1/todos", headers=headers)
    assert not any(name.startswith("access-control") for name in response.headers)
    assert "Origin" not in response.headers.get("vary", "")


async def test_an_options_request_that_is_no_preflight_needs_a_token(start_gateway: StartGateway) -> None:
    async with start_gateway(cors_origins=APP) as gateway:
        assert (await gateway.client.options("/v1/todos", headers={"Origin": APP})).status_code == 401
