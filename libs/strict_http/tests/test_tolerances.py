"""What real clients send, as the standards have it; the nearest attack is in `test_rejections.py` or beside it."""

import asyncio
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.strict_http.tests.raw import Served, assert_rejected, request, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
"""What `curl --http2` and Java's client add (RFC 7540 section 3.2)."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


@pytest.fixture
def served(server: Served) -> Served:
    server.seen.clear()
    return server


@pytest.mark.parametrize("coding", [b"Chunked", b"CHUNKED", b"chunked ", b"\tcHuNkEd  "])
async def test_transfer_codings_are_named_in_any_case(served: Served, coding: bytes) -> None:
    """RFC 9112 section 7; the space around a value is not part of it (RFC 9110 section 5.5)."""
    client = await served.connect()
    head = request(b"/a", b"Transfer-Encoding:" + coding, method=b"POST")
    await client.send(head + b"5\r\nhello\r\n0\r\n\r\n" + request(b"/b"))
    assert (await client.answer()).body == b"/a? hello"
    assert (await client.answer()).body == b"/b? "


@pytest.mark.parametrize(
    "fields",
    [
        H2C,
        (*H2C, b"Content-Length: 0"),
        (*H2C, b"Upgrade: websocket"),
        (b"Upgrade: websocket", b"Connection: keep-alive, Upgrade"),
        (b"Upgrade: foo/2, bar",),
        (b"Connection: upgrade",),
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_an_upgrade_without_a_body_is_ignored_and_what_follows_is_a_request(
    served: Served, fields: tuple[bytes, ...], method: bytes
) -> None:
    """RFC 9110 section 7.8: the response is of HTTP/1.1, and so is the next request."""
    client = await served.connect()
    await client.send(request(b"/a", *fields, method=method) + request(b"/b") + request(b"/c", *fields))
    for path in (b"/a", b"/b", b"/c"):
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, path + b"? ")
        assert {"upgrade", "connection"}.isdisjoint(answer.headers)


async def test_what_follows_an_ignored_upgrade_is_held_to_the_same_rules(served: Served) -> None:
    client = await served.connect()
    await client.send(request(b"/a", *H2C) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert (await client.answer()).status == 200
    assert (await client.answer()).status == 400
    assert await client.closed()
    assert [seen.path for seen in served.seen] == [b"/a"]


async def test_an_upgrade_on_http_1_0_is_ignored_too(served: Served) -> None:
    """RFC 9110 section 7.8."""
    assert (await served.exchange(request(b"/a", *H2C, version=b"HTTP/1.0"))).status == 200


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_curl_that_offers_http_2_is_served_and_keeps_its_connection(served: Served) -> None:
    urls = [f"http://127.0.0.1:{served.port}/{name}" for name in "ab"]
    curl = await asyncio.create_subprocess_exec(
        "curl", "--http2", "--silent", "--show-error", "--write-out", "%{http_code} %{num_connects}\n", *urls,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await curl.communicate()
    assert output == b"/a? 200 1\n/b? 200 0\n"


async def test_http_1_0_may_have_no_host(served: Served) -> None:
    """RFC 9112 section 3.2 requires it of HTTP/1.1; balancers check health without."""
    client = await served.connect()
    await client.send(b"GET /health HTTP/1.0\r\n\r\n" + request(b"/second"))
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.closed()
    assert [seen.path for seen in served.seen] == [b"/health"]


@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        (b"http://a/b?c", b"a", b"/b", b"c"),
        (b"https://a/b?c", b"a", b"/b", b"c"),
        (b"HTTP://A.Example:8000/B", b"a.eXample:8000", b"/B", b""),
        (b"http://a", b"a", b"/", b""),
        (b"http://a?b=/c", b"a", b"/", b"b=/c"),
        (b"http://a//b", b"a", b"//b", b""),
        (b"http://[::1]:80/", b"[::1]:80", b"/", b""),
        (b"http://my_service./", b"my_service.", b"/", b""),
        (b"http://a/?b='c'", b"a", b"/", b"b=%27c%27"),
    ],
)
async def test_a_target_in_absolute_form_is_read_where_its_authority_is_the_host(
    served: Served, target: bytes, host: bytes, path: bytes, query: bytes
) -> None:
    """RFC 9112 section 3.2.2; the application sees path and query alone."""
    answer = await served.exchange(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
    assert answer.status == 200
    assert [(seen.path, seen.query) for seen in served.seen] == [(path, query)]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://b/", b"a"), (b"http://a.b/", b"a"), (b"http://a:80/", b"a"), (b"http://a/", b"a:80"),
        (b"http://a./", b"a"), (b"http://u@a/", b"a"), (b"http://u@a/", b"u@a"), (b"http://a@b/", b"b"),
        (b"http://u:p@a/", b"a"), (b"http://a\\@b/", b"b"), (b"http:///", b""), (b"http://", b""), (b"http:///b", b"b"),
        (b"http:/a/", b"a"), (b"http:a", b"a"), (b"ftp://a/", b"a"), (b"ws://a/", b"a"), (b"//a/", b""),
        (b"http://a:/", b"a:"), (b"http://a:x/", b"a:x"), (b"http://[::1/", b"[::1"), (b"http://a,b/", b"a,b"),
        (b"http://a/#", b"a"), (b"http://a/ b", b"a"), (b"http://%61/", b"a"), (b"http://\xe4/", b"\xe4"),
        (b"xhttp://a/", b"a"), (b"http://a;b/", b"a;b"), (b'http://a"/', b'a"'), (b"http://a", b"a, a"),
    ],
)  # fmt: skip
async def test_a_target_with_another_authority_or_user_information_is_rejected(
    served: Served, target: bytes, host: bytes
) -> None:
    """RFC 9112 section 3.2.2: a server in front may have routed by the one, a server behind by the other."""
    if target.startswith(b"/"):
        host = b"a\r\nHost: b"
    await assert_rejected(served, b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host))
    assert served.seen == []


async def test_a_target_in_absolute_form_needs_its_host_on_http_1_0_too(served: Served) -> None:
    await assert_rejected(served, b"GET http://a/ HTTP/1.0\r\n\r\n")
    assert served.seen == []


async def test_a_quote_in_a_query_is_read_as_its_escape(served: Served) -> None:
    """RFC 3986 section 2.2 reserves it; signature libraries normalise it differently."""
    assert (await served.exchange(request(b"/it's?q=it's&r=%27''"))).status == 200
    assert [(seen.path, seen.query) for seen in served.seen] == [(b"/it's", b"q=it%27s&r=%27%27%27")]
