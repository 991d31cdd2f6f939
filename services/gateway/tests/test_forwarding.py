"""What reaches the upstream, what comes back, and what its faults look like from outside."""

import asyncio
import base64
import contextlib
import gzip
import math
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from gateway_harness import Provider, Running, StartGateway, proven_user, until
from hypothesis import given
from hypothesis import strategies as st

from devtools.testing.servers import Reply, Request, ScriptedServer, reply
from gateway.forward.forwarder import Forwarder, Outgoing
from gateway.forward.headers import for_upstream
from gateway.forward.upstream import Upstream
from gateway.forward.upstream_response import UpstreamResponse
from gateway.upstream_errors import UpstreamError
from runtime import shares
from runtime.identifiers import is_canonical_uuid
from runtime.problems import internal_error
from strict_http import slow_client
from strict_http.request_head import MAX_FIELD_BYTES, MAX_FIELDS


def authorized(provider: Provider, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {provider.token()}", **headers}


async def test_an_unhandled_exception_is_an_opaque_500_logged_under_its_id(
    gateway: Running, provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_forwarder: Forwarder, _outgoing: Outgoing) -> UpstreamResponse:
        raise RuntimeError("of secret")

    monkeypatch.setattr(Forwarder, "send", broken)
    response = await gateway.client.get("/v1/todos", headers=authorized(provider))
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.json()["detail"] == internal_error().detail
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message == "unhandled exception"
    assert record.__dict__["fields"] == {"request_id": response.headers["x-request-id"]}
    assert record.exc_info is not None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_every_forwarded_request_proves_its_user_by_signature(
    gateway: Running, provider: Provider, upstream: ScriptedServer, method: str
) -> None:
    body = b'{"title":"x"}' if method in {"POST", "PUT", "PATCH"} else b""
    headers = authorized(provider, **{"Content-Type": "application/json"})
    response = await gateway.client.request(method, "/v1/todos?a=1", headers=headers, content=body)
    [request] = upstream.requests
    assert proven_user(request) == "alice"
    assert (request.method, request.body) == (method, body)
    assert request["x-request-id"] == response.headers["x-request-id"]
    assert is_canonical_uuid(request["x-request-id"])


async def test_what_a_client_says_of_identity_or_origin_is_dropped(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    forged = {
        "X-User-Id": "mallory",
        "X-Request-Id": "mine",
        "Signature": "gateway=:AAAA:",
        "Signature-Input": "gateway=()",
        "Content-Digest": "sha-256=:AAAA:",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "gopher",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=203.0.113.9",
        "Cookie": "session=1",
        "X-Anything": "1",
    }
    response = await gateway.client.post("/v1/todos", headers=authorized(provider, **forged), content=b"{}")
    [request] = upstream.requests
    assert proven_user(request) == "alice"
    assert request["x-request-id"] == response.headers["x-request-id"] != "mine"
    assert request["x-forwarded-for"] == "127.0.0.1"
    assert request["x-forwarded-proto"] == "http"
    assert request["x-forwarded-host"] == f"127.0.0.1:{gateway.port}"
    for name in ("x-forwarded-prefix", "forwarded", "cookie", "x-anything", "authorization"):
        assert name not in request


async def test_the_headers_of_the_contract_pass(gateway: Running, provider: Provider, upstream: ScriptedServer) -> None:
    passed = {
        "accept": "application/json",
        "accept-language": "de",
        "content-type": "application/merge-patch+json",
        "if-match": '"7"',
        "if-none-match": "*",
        "idempotency-key": "k",
        "user-agent": "test/1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    }
    await gateway.client.patch("/v1/todos/1", headers=authorized(provider, **passed), content=b"{}")
    [request] = upstream.requests
    for name, value in passed.items():
        assert request[name] == value


async def test_what_would_be_too_many_fields_upstream_is_refused_here(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    await gateway.client.get("/v1/todos", headers=authorized(provider))
    room = MAX_FIELDS - len(upstream.requests[0].headers)
    fitting = {f"accept-{number}": "x" for number in range(room)}
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider, **fitting))).status_code == 200
    assert len(upstream.requests[1].headers) == MAX_FIELDS
    beyond = fitting | {"accept-last": "x"}
    response = await gateway.client.get("/v1/todos", headers=authorized(provider, **beyond))
    assert (response.status_code, response.json()["code"]) == (431, "request_header_fields_too_large")
    assert response.json()["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    assert len(upstream.requests) == 2


async def test_what_would_be_too_many_bytes_upstream_is_refused_here(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    headers = authorized(provider, Accept="x" * (MAX_FIELD_BYTES - 2000))
    async with start_gateway(public_url=f"https://api.example.com/{'p' * 2000}") as gateway:
        response = await gateway.client.get("/v1/todos", headers=headers)
    assert (response.status_code, response.json()["code"]) == (431, "request_header_fields_too_large")
    assert response.json()["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    assert response.headers["ratelimit"]
    assert not upstream.requests


async def test_names_that_another_server_may_rewrite_are_dropped_and_count_as_fields(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    respelt = {"X_User_Id": "bob", "X.User.Id": "bob", "Accept_Encoding": "gzip", "If.Match": '"7"'}
    await gateway.client.get("/v1/todos", headers=authorized(provider, **respelt))
    [request] = upstream.requests
    assert proven_user(request) == "alice"
    assert not {name for name, _ in request.headers if "_" in name or "." in name}
    many = {f"X_{number}": "x" for number in range(MAX_FIELDS)}
    response = await gateway.client.get("/v1/todos", headers=authorized(provider, **many))
    assert response.status_code == 431
    long = {"X_Long": "x" * MAX_FIELD_BYTES}
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider, **long))).status_code == 431
    assert len(upstream.requests) == 1


async def test_a_header_that_connection_names_stays_on_its_hop(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    headers = authorized(provider, Connection="keep-alive, If-Match", **{"If-Match": '"7"'})
    await gateway.client.get("/v1/todos", headers=headers)
    assert "if-match" not in upstream.requests[0]


async def test_a_public_url_decides_what_urls_are_built_from(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    async with start_gateway(public_url="https://api.example.com:8443/base/") as gateway:
        await gateway.client.get("/v1/todos", headers=authorized(provider))
    [request] = upstream.requests
    forwarded = [request[f"x-forwarded-{name}"] for name in ("proto", "host", "prefix")]
    assert forwarded == ["https", "api.example.com:8443", "/base"]


async def test_the_answer_comes_back_whole_without_the_hops_own_headers(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    headers = {
        "content-type": "application/json",
        "etag": '"7"',
        "link": "</v1/todos?cursor=x>; rel=next",
        "connection": "keep-alive, x-hop",
        "x-hop": "1",
        "keep-alive": "timeout=5",
        "x-request-id": "upstream's",
        "server": "upstream",
        "ratelimit": "forged",
    }
    upstream.answer = lambda _request: reply(b'{"a": 1}', 201, headers)
    response = await gateway.client.post("/v1/todos", headers=authorized(provider), content=b"{}")
    assert (response.status_code, response.content) == (201, b'{"a": 1}')
    assert response.headers["etag"] == '"7"'
    assert response.headers["link"] == headers["link"]
    assert is_canonical_uuid(response.headers["x-request-id"])
    assert response.headers["ratelimit"].startswith('"user";r=')
    assert {"server", "x-hop", "keep-alive"}.isdisjoint(response.headers)


async def test_an_encoded_answer_is_passed_on_as_it_is(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda _request: reply(gzip.compress(b"text"), headers={"content-encoding": "gzip"})
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).text == "text"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_ends_at_its_head(
    gateway: Running, provider: Provider, upstream: ScriptedServer, status: int
) -> None:
    upstream.answer = lambda _request: Reply(f'HTTP/1.1 {status} X\r\netag: "7"\r\n\r\n'.encode())
    for _ in range(2):
        response = await gateway.client.get("/v1/todos", headers=authorized(provider))
        assert (response.status_code, response.content, response.headers["etag"]) == (status, b"", '"7"')
    assert upstream.connections == 1


async def test_head_is_forwarded_as_head_and_answered_without_a_body(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    """RFC 9110 section 9.3.2: the length is that of the body a GET would have."""
    upstream.answer = lambda _request: Reply(b'HTTP/1.1 200 X\r\ncontent-length: 50\r\netag: "7"\r\n\r\n')
    for _ in range(2):
        response = await gateway.client.head("/v1/todos?a=1", headers=authorized(provider))
        assert (response.status_code, response.content) == (200, b"")
        assert (response.headers["content-length"], response.headers["etag"]) == ("50", '"7"')
    assert [(request.method, proven_user(request)) for request in upstream.requests] == [("HEAD", "alice")] * 2
    assert upstream.connections == 1


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 X\r\n\r\n", b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"])
async def test_head_of_what_has_no_length_ends_with_its_head(
    gateway: Running, provider: Provider, upstream: ScriptedServer, head: bytes
) -> None:
    upstream.answer = lambda _request: Reply(head)
    response = await gateway.client.head("/v1/export", headers=authorized(provider))
    assert (response.status_code, response.content) == (200, b"")
    assert {"content-length", "transfer-encoding"}.isdisjoint(response.headers)


async def test_a_body_behind_the_answer_to_head_never_becomes_the_next_requests_answer(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    """RFC 9112 section 6.3: the answer to HEAD ends with its head, whatever length that has."""
    smuggled = reply(b"smuggled").data
    upstream.answer = lambda _request: Reply(b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\n" + smuggled)
    assert (await gateway.client.head("/v1/todos", headers=authorized(provider))).status_code == 200
    upstream.answer = lambda _request: reply(b"second")
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"second"
    assert upstream.connections == 2


async def test_connections_are_kept_and_reused(gateway: Running, provider: Provider, upstream: ScriptedServer) -> None:
    for _ in range(5):
        await gateway.client.get("/v1/todos", headers=authorized(provider))
    assert upstream.connections == 1


async def test_a_large_answer_streams_through_a_slow_reader(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    body = bytes(range(256)) * 40_000
    upstream.answer = lambda _request: reply(body)
    async with gateway.client.stream("GET", "/v1/todos", headers=authorized(provider)) as response:
        received = b"".join([chunk async for chunk in response.aiter_bytes(4096)])
    assert received == body


async def test_a_chunked_answer_comes_through(gateway: Running, provider: Provider, upstream: ScriptedServer) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    upstream.answer = lambda _request: Reply(chunked)
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"abcde"


MALFORMED: dict[str, Reply] = {
    "no HTTP": Reply(b"SSH-2.0-OpenSSH\r\n"),
    "a status of letters": Reply(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a status that is none": Reply(b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n"),
    "a status below all": Reply(b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n"),
    "two lengths": Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
    "a length that is no number": Reply(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nab"),
    "a length and chunks": Reply(
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a header without a colon": Reply(b"HTTP/1.1 200 OK\r\nabc\r\n\r\n"),
    "a bare NUL in a header": Reply(b"HTTP/1.1 200 OK\r\na: \x00\r\n\r\n"),
    "endless headers": Reply(b"HTTP/1.1 200 OK\r\n" + b"a: " + b"x" * 70_000 + b"\r\n\r\n"),
    "an upgrade": Reply(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", "close"),
    "nothing": Reply(b"", "close"),
    "half a head": Reply(b"HTTP/1.1 200 OK\r\ncontent-le", "close"),
    "a reset": Reply(b"", "reset"),
    "a reset within the head": Reply(b"HTTP/1.1 200", "reset"),
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_malformed_answer_is_502_and_only_a_read_without_any_answer_is_sent_again(
    gateway: Running, provider: Provider, upstream: ScriptedServer, answer: Reply, method: str
) -> None:
    upstream.answer = lambda _request: answer
    response = await gateway.client.request(method, "/v1/todos", headers=authorized(provider))
    assert response.status_code == 502
    assert method == "HEAD" or response.json()["code"] == "upstream_failed"
    assert response.headers["ratelimit"]
    unanswered = answer.data == b""
    assert len(upstream.requests) == (2 if method != "POST" and unanswered else 1)
    upstream.answer = lambda _request: reply(b"good")
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"good"


HEAD_ALONE: dict[str, Reply] = {
    "an end": Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n", "close"),
    "no chunk": Reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "close"),
    "a bad chunk": Reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    "a reset": Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n", "reset"),
}


@pytest.mark.parametrize("answer", HEAD_ALONE.values(), ids=HEAD_ALONE.keys())
async def test_an_answer_that_breaks_before_its_body_is_502(
    gateway: Running, provider: Provider, upstream: ScriptedServer, answer: Reply
) -> None:
    upstream.answer = lambda _request: answer
    response = await gateway.client.post("/v1/todos", headers=authorized(provider))
    assert (response.status_code, response.json()["code"]) == (502, "upstream_failed")
    assert response.headers["ratelimit"]
    assert len(upstream.requests) == 1


async def test_an_answer_that_stalls_before_its_body_is_504(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda _request: Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n")
    async with start_gateway(upstream_timeout="0.05") as gateway:
        response = await gateway.client.get("/v1/todos", headers=authorized(provider))
        assert (response.status_code, response.json()["code"]) == (504, "upstream_timeout")
        assert gateway.metric("gateway_upstream_failures_total", reason="timeout") == 1
        await until(lambda: gateway.metric("gateway_upstream_connections") == 0)


TRUNCATED: dict[str, Reply] = {
    "a short body": Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nabc", "close"),
    "a missing last chunk": Reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "close"),
    "a bad chunk": Reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n"),
    "a reset": Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nabc", "reset"),
}


@pytest.mark.parametrize("answer", TRUNCATED.values(), ids=TRUNCATED.keys())
async def test_an_answer_that_breaks_off_never_looks_whole(
    gateway: Running, provider: Provider, upstream: ScriptedServer, answer: Reply
) -> None:
    upstream.answer = lambda _request: answer
    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.client.get("/v1/todos", headers=authorized(provider))
    assert len(upstream.requests) == 1
    upstream.answer = lambda _request: reply(b"good")
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"good"


async def test_bytes_behind_an_answer_never_become_the_next_requests_answer(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    smuggled = reply(b"first").data + reply(b"smuggled").data
    upstream.answer = lambda _request: Reply(smuggled)
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"first"
    upstream.answer = lambda _request: reply(b"second")
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"second"
    assert upstream.connections == 2


async def test_a_kept_connection_that_the_upstream_closed_costs_no_request(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda _request: reply(b"last", then="close")
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"last"
    await until(lambda: gateway.metric("gateway_upstream_connections") == 0)
    upstream.answer = lambda _request: reply(b"next")
    assert (await gateway.client.post("/v1/todos", headers=authorized(provider))).content == b"next"


async def test_a_kept_connection_is_ended_when_its_idle_time_is_over_however_long_an_answer_may_take(
    start_gateway: StartGateway, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.forward.upstream.IDLE_SECONDS", 0.05)
    async with start_gateway(upstream_timeout="3600") as gateway:
        assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).status_code == 200
        await until(lambda: gateway.metric("gateway_upstream_connections") == 0)


async def test_a_get_on_a_connection_that_breaks_is_sent_once_more_signed_again(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda _request: Reply(b"", "reset") if len(upstream.requests) == 1 else reply(b"again")
    assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"again"
    assert [proven_user(request) for request in upstream.requests] == ["alice", "alice"]
    assert gateway.metric("gateway_upstream_retries_total") == 1


async def test_an_upstream_that_refuses_connections_is_502_and_named_in_the_log(
    gateway: Running, provider: Provider, upstream: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    await upstream.stop()
    response = await gateway.client.post("/v1/todos", headers=authorized(provider))
    assert (response.status_code, response.json()["code"]) == (502, "upstream_failed")
    logged = [record.__dict__["fields"] for record in caplog.records if record.message == "cannot connect to todos"]
    assert logged == [{"host": "127.0.0.1", "port": upstream.port, "reason": "connection refused"}] * 2


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_an_upstream_that_never_answers_is_504_and_is_not_asked_again(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, begun: bytes
) -> None:
    upstream.answer = lambda _request: Reply(begun)
    async with start_gateway(upstream_timeout="0.05") as gateway:
        response = await gateway.client.get("/v1/todos", headers=authorized(provider))
        assert (response.status_code, response.json()["code"]) == (504, "upstream_timeout")
    assert len(upstream.requests) == 1


async def test_an_upstream_that_stalls_within_its_answer_is_cut_off(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda _request: Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nabc")
    async with start_gateway(upstream_timeout="0.05") as gateway:
        with pytest.raises(httpx.RemoteProtocolError):
            await gateway.client.get("/v1/todos", headers=authorized(provider))


async def test_a_401_of_the_upstream_is_ours_and_says_nothing_of_the_token(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda _request: reply(b"secret", 401, {"www-authenticate": "Bearer"})
    response = await gateway.client.get("/v1/todos", headers=authorized(provider))
    assert (response.status_code, response.json()["code"]) == (502, "identity_refused")
    assert "www-authenticate" not in response.headers
    assert "secret" not in response.text


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413_and_never_forwarded(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, *, chunked: bool
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 10

    async with start_gateway(max_body_bytes=100) as gateway:
        content = chunks() if chunked else b"x" * 101
        response = await gateway.client.post("/v1/todos", headers=authorized(provider), content=content)
        assert (response.status_code, response.json()["code"]) == (413, "content_too_large")
        within = await gateway.client.post("/v1/todos", headers=authorized(provider), content=b"x" * 100)
        assert within.status_code == 200
        assert gateway.metric("gateway_buffered_bytes") == 0
    assert len(upstream.requests) == 1


async def test_an_import_may_be_five_times_as_large(start_gateway: StartGateway, provider: Provider) -> None:
    async with start_gateway(max_body_bytes=100) as gateway:
        statuses = [
            (await gateway.client.post("/v1/import", headers=authorized(provider), content=b"x" * size)).status_code
            for size in (500, 501)
        ]
    assert statuses == [200, 413]


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "PATIENCE", 1)


@pytest.mark.usefixtures("short_wait")
async def test_a_body_is_503_where_others_hold_the_whole_buffer(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    release = asyncio.Event()

    async def held(_request: Request) -> Reply:
        await release.wait()
        return reply(b"done")

    upstream.answer = held
    limits = {"max_body_bytes": 20, "max_buffered_bytes": 100, "max_buffered_bytes_per_user": 100}
    async with start_gateway(**limits) as gateway:
        first = asyncio.create_task(gateway.client.post("/v1/import", headers=authorized(provider), content=b"x" * 100))
        await upstream.wait_for_requests(1)
        other = {"Authorization": f"Bearer {provider.token(sub='bob')}"}
        refused = await gateway.client.post("/v1/todos", headers=other, content=b"x")
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert gateway.metric("gateway_buffered_bytes") == 100
        assert gateway.metric("gateway_share_refusals_total", policy="user-buffer") == 0
        release.set()
        assert (await first).content == b"done"
        assert gateway.metric("gateway_buffered_bytes") == 0


@pytest.mark.usefixtures("short_wait")
async def test_a_request_is_503_where_others_hold_every_place_and_gets_the_one_that_comes_free(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    release = asyncio.Event()

    async def held(_request: Request) -> Reply:
        await release.wait()
        return reply(b"done")

    upstream.answer = held
    async with start_gateway(max_in_flight=1) as gateway:
        first = asyncio.create_task(gateway.client.get("/v1/todos", headers=authorized(provider)))
        await upstream.wait_for_requests(1)
        other = {"Authorization": f"Bearer {provider.token(sub='bob')}"}
        refused = await gateway.client.get("/v1/todos", headers=other)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert "violated-policies" not in refused.json()
        assert gateway.metric("gateway_share_refusals_total", policy="user-requests") == 0
        release.set()
        assert (await first).content == b"done"
        assert (await gateway.client.get("/v1/todos", headers=authorized(provider))).content == b"done"


async def test_concurrent_requests_get_their_own_answers(
    gateway: Running, provider: Provider, upstream: ScriptedServer
) -> None:
    upstream.answer = lambda request: reply(request.target.encode())

    async def one(number: int) -> None:
        response = await gateway.client.get(f"/v1/todos/{number}", headers=authorized(provider))
        assert response.text == f"/v1/todos/{number}"

    await asyncio.gather(*(one(number) for number in range(100)))


async def body_of(response: UpstreamResponse) -> bytes:
    body, last = await response.read()
    return body if last else body + await body_of(response)


async def test_an_answer_read_late_is_not_mixed_with_the_next_on_its_connection(upstream: ScriptedServer) -> None:
    client = Upstream("127.0.0.1", upstream.port, 5, lambda _open: None)
    upstream.answer = lambda request: reply(request.target.encode() * 100)
    request = b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n"
    first = await client.send(request % 1, bodiless=False)
    await until(lambda: first.complete)
    second = await client.send(request % 2, bodiless=False)
    assert await body_of(first) == b"/1" * 100
    assert await body_of(second) == b"/2" * 100
    assert upstream.connections == 1
    client.close()


async def test_nothing_is_written_to_a_kept_connection_that_is_just_closing(upstream: ScriptedServer) -> None:
    client = Upstream("127.0.0.1", upstream.port, 5, lambda _open: None)
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    answer = await client.send(request, bodiless=False)
    await until(lambda: answer.complete)
    (connection,) = client._open
    connection.close()
    with pytest.raises(UpstreamError) as failed:
        await client.send(request, bodiless=False)
    assert not failed.value.written
    client.close()


async def test_the_upstream_is_not_blamed_while_nobody_reads_and_is_again_once_somebody_does(
    upstream: ScriptedServer,
) -> None:
    client = Upstream("127.0.0.1", upstream.port, 60, lambda _open: None)
    upstream.answer = lambda _request: Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 70_000)
    answer = await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", bodiless=False)
    await until(lambda: answer._paused)
    (connection,) = client._open
    assert connection._deadline._due == math.inf
    connection._timeout = 0.02
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamError, match="timeout"):
            await body_of(answer)
    client.close()


@given(st.binary(max_size=300))
async def test_no_answer_hangs_or_raises_anything_but_an_upstream_error(garbage: bytes) -> None:
    response = UpstreamResponse(bodiless=False, pause=lambda: None, resume=lambda: None, close=lambda: None)
    response.feed(garbage)
    response.end(orderly=True)
    try:
        await response.head
        await body_of(response)
    except UpstreamError:
        assert not response.complete
    else:
        assert response.complete


header_names = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz-"), min_size=1, max_size=20).map(str.encode)


@given(st.lists(st.tuples(header_names, st.binary(max_size=10))))
def test_nothing_but_listed_headers_passes_and_never_an_identity(headers: list[tuple[bytes, bytes]]) -> None:
    for name, _ in for_upstream([*headers, (b"x-user-id", b"a"), (b"content-digest", b"a"), (b"cookie", b"a")]):
        assert name.startswith((b"accept", b"content-", b"if-")) or name in {
            b"idempotency-key", b"user-agent", b"traceparent", b"tracestate",
        }  # fmt: skip
        assert name not in {b"x-user-id", b"content-digest", b"content-length"}


async def test_the_digest_is_that_of_the_body(gateway: Running, provider: Provider, upstream: ScriptedServer) -> None:
    await gateway.client.post("/v1/todos", headers=authorized(provider), content=b"")
    await gateway.client.post("/v1/todos", headers=authorized(provider), content=b"{}")
    empty, full = upstream.requests
    assert "content-digest" not in empty
    assert base64.b64decode(full["content-digest"].removeprefix("sha-256=:").rstrip(":"))
    assert [request["content-length"] for request in upstream.requests] == ["0", "2"]


@pytest.mark.parametrize("body", [None, b"", b"abc"])
async def test_a_client_that_leaves_ends_what_it_asked_for_upstream(
    gateway: Running, provider: Provider, upstream: ScriptedServer, body: bytes | None
) -> None:
    begun = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n"
    upstream.answer = lambda _request: Reply(b"" if body is None else begun + body)
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    head = f"GET /v1/todos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {provider.token()}\r\n\r\n"
    writer.write(head.encode())
    await upstream.wait_for_requests(1)
    assert gateway.metric("gateway_in_flight_requests") == 1
    writer.close()
    await writer.wait_closed()
    await until(lambda: gateway.metric("gateway_in_flight_requests") == 0)
    await until(lambda: gateway.metric("gateway_upstream_connections") == 0)


async def test_a_client_that_does_not_read_gives_its_place_back(
    gateway: Running, provider: Provider, upstream: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_client, "CHECK_SECONDS", 0.1)
    upstream.answer = lambda _request: reply(bytes(16 * 1024 * 1024))
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        head = f"GET /v1/todos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {provider.token()}\r\n\r\n"
        client.sendall(head.encode())
        await upstream.wait_for_requests(1)
        await until(lambda: gateway.metric("gateway_in_flight_requests") == 0)
        await until(lambda: gateway.metric("gateway_upstream_connections") == 0)


async def test_an_answer_that_comes_before_a_large_body_was_read_is_passed_on(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 409 X\r\ncontent-length: 5\r\n\r\nearly")
            await writer.drain()
            await gone.wait()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(answer_early, "127.0.0.1", 0, limit=4096)
    port = server.sockets[0].getsockname()[1]
    try:
        async with start_gateway(upstream_url=f"http://127.0.0.1:{port}") as gateway:
            for _ in range(2):
                content = b"x" * (1 << 20)
                response = await gateway.client.post("/v1/todos", headers=authorized(provider), content=content)
                assert (response.status_code, response.text) == (409, "early")
            await until(lambda: gateway.metric("gateway_upstream_connections") == 0)
    finally:
        gone.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "payload",
    [
        "PUT / HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: 0\r\nContent-Length: 60\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: +0\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Transfer-Encoding: chunked\r\n\r\n0;\nx\r\n\r\n{smuggled}",
        "GET /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}X: a\rb\r\n\r\n{smuggled}",
        "GET /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}X: a\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Content_Length: 60\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Content.Length: 60\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Transfer_Encoding: chunked\r\n\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Transfer.Encoding: chunked\r\n\r\n{smuggled}",
        "GET /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}X User-Id: bob\r\n\r\n{smuggled}",
        "GET /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}X-User\x00-Id: bob\r\n\r\n{smuggled}",
        "GET /v1/todos HTTP/1.1\r\nHost: x\r\nHost: y\r\n{auth}\r\n{smuggled}",
        "GET http://evil/v1/todos HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "GET /v1/todos#x HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "GET /v1/todos\\..\\x HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "GET /v1/%2e%2e/x HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "GET /v1/%252e%252e/x HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "GET //v1/todos HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "POST /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}Upgrade: websocket\r\nContent-Length: 60\r\n\r\n{smuggled}",
        "GET /v1/todos HTTP/2.0\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "GET /{long} HTTP/1.1\r\nHost: x\r\n{auth}\r\n{smuggled}",
        "GET /v1/todos HTTP/1.1\r\nHost: x\r\n{auth}X: {long}{long}{long}{long}{long}\r\n\r\n{smuggled}",
    ],
)
async def test_what_is_malformed_never_reaches_the_upstream_nor_does_what_it_carries(
    gateway: Running, provider: Provider, upstream: ScriptedServer, payload: str
) -> None:
    authorization = f"Authorization: Bearer {provider.token()}\r\n"
    smuggled = f"DELETE /v1/todos/smuggled HTTP/1.1\r\nHost: x\r\n{authorization}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    request = payload.replace("{auth}", authorization).replace("{smuggled}", smuggled).replace("{long}", "x" * 8192)
    writer.write(request.encode("latin-1"))
    status_line = await reader.readline()
    assert status_line.split()[1] in {b"400", b"414", b"431"}, status_line
    writer.close()
    await writer.wait_closed()
    assert [request.target for request in upstream.requests if "smuggled" in request.target] in (
        [],
        ["/v1/todos/smuggled"],
    )
    assert len(upstream.requests) <= 1


async def test_a_client_that_does_not_read_stops_the_upstream_and_not_the_gateways_memory(
    start_gateway: StartGateway, provider: Provider
) -> None:
    total, chunk = 64 << 20, b"x" * (64 << 10)
    written = 0
    stalled, done = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while written < total:
            writer.write(chunk)
            written += len(chunk)
            draining = asyncio.create_task(writer.drain())
            await asyncio.wait([draining], timeout=0.5)
            if not draining.done():
                stalled.set()
            await draining
        done.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        async with start_gateway(upstream_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as gateway:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            head = f"GET /v1/todos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {provider.token()}\r\n\r\n"
            writer.write(head.encode())
            await stalled.wait()
            assert written < total // 2
            await reader.readuntil(b"\r\n\r\n")
            assert len(await reader.readexactly(total)) == total
            await done.wait()
            writer.close()
            await writer.wait_closed()
    finally:
        server.close()
        await server.wait_closed()
