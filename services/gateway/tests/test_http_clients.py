"""What real clients, balancers and browsers send to the gateway, over raw sockets, each beside its nearest attack."""

import asyncio

import pytest
from gateway_harness import Provider, Running, StartGateway, proven_user, until

from devtools.testing.servers import Request, ScriptedServer

APP = "https://app.example.com"
SMUGGLED = b"DELETE /v1/todos/smuggled HTTP/1.1\r\nHost: x\r\n%b\r\n"


class Raw:
    """A client that sends exactly what it is given, in the name of alice."""

    def __init__(self, gateway: Running, provider: Provider) -> None:
        self._port = gateway.port
        self._authorization = f"Authorization: Bearer {provider.token()}\r\n".encode()

    async def exchange(self, line: str, *fields: str, body: bytes = b"", authorized: bool = True) -> list[bytes]:
        """The responses to a request and to whatever is taken for a second one, up to the end of the connection.

        The second one is sent after it in the same write, and would delete something.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = "".join(f"{text}\r\n" for text in (line, *fields)).encode("latin-1")
        authorization = self._authorization if authorized else b""
        second = SMUGGLED % (authorization + b"Connection: close\r\n")
        writer.write(head + authorization + b"\r\n" + body + second)
        answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
        writer.close()
        await writer.wait_closed()
        return answers


@pytest.fixture
def raw(gateway: Running, provider: Provider) -> Raw:
    return Raw(gateway, provider)


def statuses(answers: list[bytes]) -> list[int]:
    return [int(answer[:3]) for answer in answers]


def targets(upstream: ScriptedServer) -> list[str]:
    assert [proven_user(request) for request in upstream.requests] == ["alice"] * len(upstream.requests)
    return [request.target for request in upstream.requests]


def names(request: Request) -> set[str]:
    return {name for name, _ in request.headers}


H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")


async def test_an_offer_of_http_2_goes_no_further_and_what_follows_is_a_request(
    raw: Raw, upstream: ScriptedServer
) -> None:
    """RFC 9110 section 7.8."""
    answers = await raw.exchange("GET /v1/todos HTTP/1.1", "Host: x", *H2C)
    assert statuses(answers) == [200, 200]
    assert targets(upstream) == ["/v1/todos", "/v1/todos/smuggled"]
    assert {"upgrade", "connection", "http2-settings"}.isdisjoint(names(upstream.requests[0]))


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (("Content-Length: 2",), b"{}"),
        (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n0\r\n\r\n"),
        (("Transfer-Encoding: Chunked",), b"2\r\n{}\r\n0\r\n\r\n"),
    ],
)
async def test_an_offer_of_http_2_with_a_body_is_rejected_and_nothing_follows(
    raw: Raw, upstream: ScriptedServer, fields: tuple[str, ...], body: bytes
) -> None:
    assert statuses(await raw.exchange("POST /v1/todos HTTP/1.1", "Host: x", *H2C, *fields, body=body)) == [400]
    assert upstream.requests == []


async def test_a_chunked_body_is_forwarded_whole_however_its_coding_is_spelt(
    raw: Raw, upstream: ScriptedServer
) -> None:
    """RFC 9112 section 7."""
    body = b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    answers = await raw.exchange("POST /v1/todos HTTP/1.1", "Host: x", "Transfer-Encoding: CHUNKED", body=body)
    assert statuses(answers) == [200, 200]
    request = upstream.requests[0]
    assert (request.target, request.body) == ("/v1/todos", b"{}")
    assert "transfer-encoding" not in names(request)


@pytest.mark.parametrize("coding", ["xchunked", "chunked, chunked", "Chunked, identity", "chunked;q=1", '"Chunked"'])
async def test_another_coding_is_rejected_and_nothing_follows(raw: Raw, upstream: ScriptedServer, coding: str) -> None:
    fields = ("Host: x", f"Transfer-Encoding: {coding}")
    assert statuses(await raw.exchange("POST /v1/todos HTTP/1.1", *fields, body=b"0\r\n\r\n")) == [400]
    assert upstream.requests == []


async def test_http_1_0_without_a_host_is_answered_under_the_listener_s_address(
    raw: Raw, gateway: Running, upstream: ScriptedServer
) -> None:
    """RFC 9112 section 3.2; HTTP/1.0 never keeps a connection, so what follows is never read."""
    assert statuses(await raw.exchange("GET /v1/todos HTTP/1.0")) == [200]
    [request] = upstream.requests
    assert request["x-forwarded-host"] == f"127.0.0.1:{gateway.port}"


async def test_http_1_1_without_a_host_is_rejected(raw: Raw, upstream: ScriptedServer) -> None:
    assert statuses(await raw.exchange("GET /v1/todos HTTP/1.1")) == [400]
    assert upstream.requests == []


@pytest.mark.parametrize("host", ["api.example.com.", "my_service:8000", "[::1]:80", "API.example.com"])
async def test_a_host_with_a_dot_at_its_end_or_an_underscore_is_what_urls_are_built_from(
    raw: Raw, upstream: ScriptedServer, host: str
) -> None:
    assert statuses(await raw.exchange("GET /v1/todos HTTP/1.1", f"Host: {host}")) == [200, 200]
    assert upstream.requests[0]["x-forwarded-host"] == host


@pytest.mark.parametrize("host", ["a..", "a,b", "a/b", "u@a", "a b", "-a", "a:b", ""])
async def test_an_odd_host_is_rejected(raw: Raw, upstream: ScriptedServer, host: str) -> None:
    assert statuses(await raw.exchange("GET /v1/todos HTTP/1.1", f"Host: {host}"))[0] == 400
    assert "/v1/todos" not in targets(upstream)


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("http://X.example:80/v1/todos?limit=1", "/v1/todos?limit=1"),
        ("https://x.example:80/v1/todos", "/v1/todos"),
        ("http://x.example:80", "/"),
        ("http://x.example:80?a=1", "/?a=1"),
        ("/v1/todos?q=it's", "/v1/todos?q=it%27s"),
        ("http://x.example:80/v1/todos?q='%27'", "/v1/todos?q=%27%27%27"),
        ("/v1/it's", "/v1/it's"),
    ],
)
async def test_path_and_query_alone_are_signed_and_forwarded_as_they_were_read(
    raw: Raw, upstream: ScriptedServer, target: str, forwarded: str
) -> None:
    """RFC 9112 section 3.2.2, RFC 9421 section 2.2."""
    assert statuses(await raw.exchange(f"GET {target} HTTP/1.1", "Host: x.example:80")) == [200, 200]
    assert targets(upstream)[0] == forwarded


@pytest.mark.parametrize(
    "target",
    [
        "http://y.example/v1/todos", "http://x.example/v1/todos", "http://u@x.example:80/v1/todos", "http:///v1/todos",
        "ftp://x.example:80/v1/todos", "http://x.example:80//v1/todos", "http://x.example:80/v1/../me",
        "http://x.example:80/v1/%2e%2e/me", "http://x.example:80\\@y.example/v1/todos",
    ],
)  # fmt: skip
async def test_another_authority_or_an_unsafe_path_behind_one_is_rejected(
    raw: Raw, upstream: ScriptedServer, target: str
) -> None:
    assert statuses(await raw.exchange(f"GET {target} HTTP/1.1", "Host: x.example:80"))[0] == 400
    assert set(targets(upstream)) <= {"/v1/todos/smuggled"}


@pytest.mark.parametrize("name", ["X_User_Id", "X.User.Id", "x-user_id", "Accept_Encoding", "If.Match", "_", "."])
async def test_a_name_that_another_server_may_respell_is_dropped(raw: Raw, upstream: ScriptedServer, name: str) -> None:
    assert statuses(await raw.exchange("GET /v1/todos HTTP/1.1", "Host: x", f"{name}: bob")) == [200, 200]
    assert targets(upstream)[0] == "/v1/todos"
    assert "bob" not in {value for _, value in upstream.requests[0].headers}


@pytest.mark.parametrize(
    "field",
    ["Content_Length: 90", "Content.Length: 90", "Transfer_Encoding: chunked", "Transfer.Encoding: chunked"],
)
@pytest.mark.parametrize("authorized", [True, False])
async def test_a_name_that_reads_as_framing_is_rejected_and_nothing_follows(
    raw: Raw,
    upstream: ScriptedServer,
    field: str,
    authorized: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """What a server in front took for the body would be a request here (RFC 9112 section 11.2)."""
    assert statuses(await raw.exchange("POST /v1/todos HTTP/1.1", "Host: x", field, authorized=authorized)) == [400]
    assert upstream.requests == []


@pytest.mark.parametrize("origin", [APP, "https://evil.example", None])
@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        ("GET /v1/todos#a HTTP/1.1", (), 400),
        ("GET /v1/todos?q=" + "a" * 9000 + " HTTP/1.1", (), 414),
        ("GET /v1/todos HTTP/1.1", ("X: " + "a" * 40_000,), 431),
        ("GET /v1/todos HTTP/1.1", ("X: a",) * 101, 431),
        ("POST /v1/todos HTTP/1.1", ("Content-Length: x",), 400),
        ("POST /v1/todos HTTP/1.1", ("Transfer-Encoding: gzip",), 400),
    ],
)
async def test_a_rejection_of_the_parser_is_counted_and_may_be_read_by_the_pages_of_allowed_origins(
    start_gateway: StartGateway,
    provider: Provider,
    origin: str | None,
    line: str,
    fields: tuple[str, ...],
    status: int,
) -> None:
    """Fetch standard, "CORS protocol"."""
    async with start_gateway(cors_origins=APP) as gateway:
        given = ("Host: x", *([f"Origin: {origin}"] if origin else []), *fields)
        [answer] = await Raw(gateway, provider).exchange(line, *given, authorized=False)
        labels = {"route": "other", "method": "other", "status": str(status)}
        assert gateway.metric("gateway_requests_total", **labels) == 1
    assert statuses([answer]) == [status]
    assert b"\r\nvary: Origin\r\n" in answer
    assert (f"\r\naccess-control-allow-origin: {APP}\r\n".encode() in answer) is (origin == APP)
    assert (b"\r\naccess-control-expose-headers: " in answer) is (origin == APP)


async def test_a_rejection_within_a_body_is_counted_once_under_its_route(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with start_gateway(cors_origins=APP) as gateway:
        fields = ("Host: x", f"Origin: {APP}", "Transfer-Encoding: chunked")
        [answer] = await Raw(gateway, provider).exchange("POST /v1/todos HTTP/1.1", *fields, body=b"oops\r\n")
        labels = {"route": "/v1/todos", "method": "POST", "status": "400"}
        await until(lambda: gateway.metric("gateway_requests_total", **labels) == 1)
        assert gateway.metric("gateway_requests_total", route="other", method="other", status="400") == 0
    assert statuses([answer]) == [400]
    assert f"\r\naccess-control-allow-origin: {APP}\r\n".encode() in answer


async def test_without_cors_a_rejection_says_nothing_of_origins(raw: Raw) -> None:
    [answer] = await raw.exchange("GET /v1/todos#a HTTP/1.1", "Host: x", f"Origin: {APP}")
    assert b"access-control" not in answer
    assert b"Origin" not in answer
