"""What the server of both services answers where no application does, over real sockets."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from http.client import parse_headers
from io import BytesIO

import pytest

from runtime.error_responses import REJECTED, OnRejected, nothing_more
from runtime.serve import http_server, listen
from strict_http.asgi import App, Headers, Receive, Scope, Send, respond

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(app: App, on_rejected: OnRejected = nothing_more) -> AsyncIterator[int]:
    server = http_server(app, 75, on_rejected)
    with listen("127.0.0.1", 0) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await running


async def problem(port: int, request: bytes) -> tuple[dict[str, object], str]:
    """The problem document that answers `request` before the connection closes, and its request id."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status_line, _, fields = head.partition(b"\r\n")
    headers = parse_headers(BytesIO(fields + b"\r\n\r\n"))
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert headers["connection"] == "close"
    document = json.loads(body)
    assert status_line.split(b" ")[1] == b"%d" % document["status"]
    assert document["instance"] == f"urn:uuid:{headers['x-request-id']}"
    return document, headers["x-request-id"]


async def unused(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, [])


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("of secret")


async def sends_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET /secret#a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
        (b"GET /secret" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: secret" + b"a" * 40_000, 431, "request_header_fields_too_large"),
    ],
)
async def test_a_malformed_request_is_a_problem_logged_under_its_id_without_what_came(
    request_bytes: bytes, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runtime.http")
    async with serving(unused) as port:
        document, request_id = await problem(port, request_bytes)
    assert (document["status"], document["code"]) == (status, code)
    (record,) = [record for record in caplog.records if record.name == "runtime.http"]
    assert (record.levelname, record.message) == ("INFO", "malformed request rejected")
    expected = {"request_id": request_id, "status": status, "code": code, "reason": document["detail"]}
    assert record.__dict__["fields"] == expected
    assert "secret" not in json.dumps(document) + caplog.text


async def test_the_service_hears_of_each_rejection_and_adds_headers_to_its_response() -> None:
    heard = []

    def on_rejected(status: int, fields: Headers, scope: Scope | None) -> Headers:
        heard.append((status, dict(fields)[b"x"], scope is None))
        return [(b"x-request-id-of", b"%d" % status)]

    async with serving(unused, on_rejected) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /# HTTP/1.1\r\nX: a\r\n\r\n")
        assert b"\r\nx-request-id-of: 400\r\n" in await reader.read()
        writer.close()
    assert heard == [(400, b"a", True)]


async def test_an_application_whose_request_is_rejected_can_see_the_status_of_the_response() -> None:
    seen = asyncio.Queue[object]()

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.put_nowait(scope[REJECTED])

    async with serving(reads) as port:
        chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        document, _ = await problem(port, chunked + b"oops\r\n")
        assert document["status"] == await seen.get() == 400


@pytest.mark.parametrize(
    ("app", "message"), [(fails, "unhandled exception"), (sends_nothing, "the application sent no response")]
)
async def test_a_failing_application_is_an_opaque_problem_logged_under_its_id(
    app: App, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(app) as port:
        document, request_id = await problem(port, GET)
    assert (document["status"], document["code"]) == (500, "internal")
    assert "secret" not in json.dumps(document)
    (record,) = [record for record in caplog.records if record.name == "runtime.http"]
    assert (record.levelname, record.message) == ("ERROR", message)
    assert record.__dict__["fields"] == {"request_id": request_id}
    assert bool(record.exc_info) is (app is fails)
