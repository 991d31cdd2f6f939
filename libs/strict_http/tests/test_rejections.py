"""What the parser rejects, over raw sockets, and the nearest that passes."""

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.strict_http.tests.raw import Served, assert_rejected, request, serving
from strict_http.framing import MAX_CHUNK_LINE_BYTES
from strict_http.request_head import MAX_FIELD_BYTES, MAX_FIELDS, MAX_TARGET_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = b"Host: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Served]:
    async with serving() as running:
        yield running


@pytest.fixture
def served(server: Served) -> Served:
    server.seen.clear()
    return server


def with_fields(*fields: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


@pytest.mark.parametrize(
    "target",
    [
        b"*", b"a:80", b"a", b"?a", b"", b"/#", b"/a#b", b"/a?b#c", b"/\\", b"/<", b'/"',
        b"/a b", b"/{", b"/|", b"/^", b"/`", b"/[", b"/?[", b"/%", b"/%2", b"/%zz", b"/?%",
        b"/?%g0", b"/%+1", b"/\xc3\xa4", b"/?\xff", b"/\x01", b"/\x7f", b"/?\x1f", b"/\x00", b"/\t",
        b"/?\x0b", b"/a\rb",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"POST"])
async def test_a_target_that_is_not_clean_is_rejected(served: Served, target: bytes, method: bytes) -> None:
    await assert_rejected(served, request(target, method=method))
    assert served.seen == []


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", b""),
        (b"/a?", b"/a", b""),
        (b"/a?b=c&d", b"/a", b"b=c&d"),
        (b"/a'(*)!$&,;=:@-._~/%41%c3%A4", b"/a'(*)!$&,;=:@-._~/%41%c3%A4", b""),
        (b"/?a/b?c%27(*)!$&,;=:@-._~", b"/", b"a/b?c%27(*)!$&,;=:@-._~"),
        (b"//a//", b"//a//", b""),
        (b"/a/../b", b"/a/../b", b""),
    ],
)
async def test_a_target_reaches_the_application_in_the_bytes_it_came_in(
    served: Served, target: bytes, path: bytes, query: bytes
) -> None:
    assert (await served.exchange(request(target))).status == 200
    assert [(seen.path, seen.query) for seen in served.seen] == [(path, query)]


async def test_connect_is_rejected(served: Served) -> None:
    await assert_rejected(served, request(b"a:80", method=b"CONNECT"))
    await assert_rejected(served, request(b"/", method=b"CONNECT"))
    assert served.seen == []


@pytest.mark.parametrize("method", [b"get", b"FOO", b"G\xc3T", b"G(T", b"PRI", b"\x16\x03\x01", b" GET", b"\rGET", b""])
async def test_an_unknown_method_is_rejected(served: Served, method: bytes) -> None:
    await assert_rejected(served, request(method=method))
    assert served.seen == []


async def test_a_tls_greeting_is_rejected_without_waiting_for_its_end(served: Served) -> None:
    client = await served.connect()
    assert (await client.exchange(b"\x16\x03\x01\x00\xa5\x01\x00")).status == 400
    assert await client.closed()


@pytest.mark.parametrize(
    "version",
    [
        b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/1", b"http/1.1", b"RTSP/1.0", b"ICE/1.0",
        b"HTTP/1.1 ", b"HTTP/1.1\t", b" HTTP/1.1", b"HTTP/3.0", b"",
    ],
)  # fmt: skip
async def test_another_version_is_rejected(served: Served, version: bytes) -> None:
    await assert_rejected(served, request(version=version))
    await assert_rejected(served, b"GET /\r\n\r\n")
    assert served.seen == []


async def test_http_1_0_is_served_and_closed(served: Served) -> None:
    client = await served.connect()
    await client.send(request(version=b"HTTP/1.0") + request(b"/second"))
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.closed()
    assert len(served.seen) == 1


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
async def test_two_hosts_are_rejected_and_none_on_http_1_1(served: Served, version: bytes) -> None:
    await assert_rejected(served, b"GET / HTTP/1.1\r\n\r\n")
    for second in (b"Host: a", b"hOST: b"):
        await assert_rejected(served, request(b"/", second, version=version))
    assert served.seen == []


@pytest.mark.parametrize(
    "fields",
    [
        b"Host: a\r\n b\r\n", b"Host: a\r\n\tb\r\n", b"Host: a\r\nX:\r\n b\r\n", b" Host: a\r\n", b"Host: a\rX: b\r\n",
        b"Host: a\nX: b\r\n", b"Host: a\r\nX: b\n", b"Host: a\r\nX: a\x00b\r\n", b"Host: a\r\nX: a\x01b\r\n",
        b"Host: a\r\nX: a\x7fb\r\n", b"Host: a\r\nX : b\r\n", b"Host: a\r\nX\t: b\r\n", b"Host: a\r\n: b\r\n",
        b"Host: a\r\nX\r\n", b"Host: a\r\nX Y: b\r\n", b"Host: a\r\nX\xff: b\r\n", b"Host: a\r\nX\x00: b\r\n",
        b"Host: a\r\nX(: b\r\n", b"Host: a\r\n\rX: b\r\n", b"Host: a\r\nX@: b\r\n", b'Host: a\r\n"X": b\r\n',
    ],
)  # fmt: skip
async def test_a_malformed_field_is_rejected(served: Served, fields: bytes) -> None:
    await assert_rejected(served, b"GET / HTTP/1.1\r\n" + fields + b"\r\n")
    assert served.seen == []


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n\n", b"\nGET / "])
async def test_lines_without_a_carriage_return_are_rejected_at_once(served: Served, head: bytes) -> None:
    client = await served.connect()
    assert (await client.exchange(head)).status == 400
    assert await client.closed()


async def test_one_empty_line_before_a_request_is_ignored(served: Served) -> None:
    client = await served.connect()
    assert (await client.exchange(b"\r\n" + request())).status == 200
    assert (await client.exchange(b"\r\n" + request())).status == 200
    served.seen.clear()
    await assert_rejected(served, b"\r\n\r\n")


async def test_names_come_in_lower_case_and_values_without_the_space_around_them(served: Served) -> None:
    await served.exchange(with_fields(b"HOST:\t a ", b"X-Empty:", b"X-Space: \t ", b"X-Inner: a \t b \t "))
    fields = [(b"host", b"a"), (b"x-empty", b""), (b"x-space", b""), (b"x-inner", b"a \t b")]
    assert served.seen[0].headers == fields


@pytest.mark.parametrize(
    "length",
    [
        b"+5", b"-5", b"5, 5", b"5,5", b"5 5", b"0x5", b"5.0", b"", b" ", b"five", b"1_0", b"5\xa0", b"9" * 19,
        b"18446744073709551615", b"18446744073709551616", b"0" * 5000 + b"5",
    ],
)  # fmt: skip
async def test_a_content_length_that_is_not_plain_digits_is_rejected(served: Served, length: bytes) -> None:
    await assert_rejected(served, request(b"/", b"Content-Length: " + length, method=b"POST") + b"hello")
    assert served.seen == []


async def test_a_repeated_content_length_is_rejected_even_where_both_agree(served: Served) -> None:
    for second in (b"5", b"6"):
        fields = (b"Content-Length: 5", b"Content-Length: " + second)
        await assert_rejected(served, request(b"/", *fields, method=b"POST") + b"hello")
    assert served.seen == []


@pytest.mark.parametrize("length", [b"5", b" 5 ", b"\t5\t", b"005"])
async def test_a_plain_content_length_ends_the_body(served: Served, length: bytes) -> None:
    client = await served.connect()
    await client.send(request(b"/", b"Content-Length:" + length, method=b"POST") + b"hello" + request(b"/b"))
    assert (await client.answer()).body == b"/? hello"
    assert (await client.answer()).body == b"/b? "


@pytest.mark.parametrize(
    "fields",
    [
        (b"Transfer-Encoding: gzip, chunked",), (b"Transfer-Encoding: chunked, gzip",), (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: identity",), (b"Transfer-Encoding: xchunked",), (b"Transfer-Encoding: Xchunked",),
        (b"Transfer-Encoding: chunked, chunked",), (b"Transfer-Encoding: Chunked, CHUNKED",),
        (b"Transfer-Encoding: chun ked",), (b"Transfer-Encoding: chunked\t",), (b"Transfer-Encoding: chunked \t ",),
        (b"Transfer-Encoding: chunked\xa0",), (b"Transfer-Encoding: \xc7hunked",),
        (b"Transfer-Encoding: Chunked", b"Content-Length: 5"), (b"Transfer-Encoding: Chunked", b"Upgrade: h2c"),
        (b"Transfer-Encoding:",), (b"Transfer-Encoding: chunked,",), (b"Transfer-Encoding: chunked;a",),
        (b"Transfer-Encoding: \x0bchunked",), (b'Transfer-Encoding: "chunked"',),
        (b"Transfer-Encoding: chunked chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 5"), (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
    ],
)  # fmt: skip
async def test_a_transfer_encoding_that_is_not_chunked_alone_is_rejected(
    served: Served, fields: tuple[bytes, ...]
) -> None:
    await assert_rejected(served, request(b"/", *fields, method=b"POST") + END)
    assert served.seen == []


async def test_http_1_0_knows_no_chunks(served: Served) -> None:
    head = request(b"/", b"Transfer-Encoding: chunked", method=b"POST", version=b"HTTP/1.0")
    await assert_rejected(served, head + END)
    assert served.seen == []


@pytest.mark.parametrize(
    "body",
    [
        b"5 \r\nhello\r\n", b" 5\r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello", b"5\r\nhelloo\r\n", b"5\r\nhell\r\n",
        b"0x5\r\nhello\r\n", b"+5\r\nhello\r\n", b"-5\r\nhello\r\n", b"1_0\r\n", b"g\r\n", b"\r\n", b";a\r\n",
        b"5\r\nhello\n",
        b"fffffffffffffffff\r\nhello\r\n", b"5;\x00\r\nhello\r\n", b"5;a\nb\r\nhello\r\n", b"5;a\rb\r\nhello\r\n",
        b"5;" + b"a" * MAX_CHUNK_LINE_BYTES + b"\r\nhello\r\n", b"0" * MAX_CHUNK_LINE_BYTES + b"5\r\nhello\r\n",
        b"0\r\nX : a\r\n\r\n", b"0\r\nX: a\r\n b\r\n\r\n", b"0\r\nX: \x00\r\n\r\n", b"0\r\nX: a\n\r\n", b"0\r\n\n",
        b"0\n\n",
        b"0\r\nContent-Length: 5\r\n\r\nhello", b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)  # fmt: skip
async def test_a_malformed_chunk_is_rejected(served: Served, body: bytes) -> None:
    await assert_rejected(served, CHUNKED + body + END)


async def test_extensions_and_trailers_are_dropped(served: Served) -> None:
    client = await served.connect()
    chunks = b'5;a;b=c;d="e f"\r\nhello\r\n3\r\n, w\r\n0004\r\norld\r\n000;x\r\nX-User-Id: mallory\r\nHost: b\r\n\r\n'
    await client.send(CHUNKED + chunks + request(b"/second"))
    assert (await client.answer()).body == b"/? hello, world"
    assert (await client.answer()).body == b"/second? "
    assert served.seen[0].headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    assert served.seen[1].headers == [(b"host", b"a")]


async def test_trailers_are_bounded_and_never_waited_for(served: Served) -> None:
    code = "request_header_fields_too_large"
    many = CHUNKED + b"0\r\n" + b"X: a\r\n" * MAX_FIELDS
    assert (await served.exchange(many + b"\r\n")).status == 200
    served.seen.clear()
    await assert_rejected(served, many + b"X: a\r\n", 431, code)
    await assert_rejected(served, many + b"X: a\r\n\r\n", 431, code)
    half = b"X: " + b"a" * (MAX_FIELD_BYTES // 2) + b"\r\n"
    await assert_rejected(served, CHUNKED + b"0\r\n" + half * 2, 431, code)
    client = await served.connect()
    assert (await client.exchange(CHUNKED + b"0\r\nX: " + b"a" * MAX_FIELD_BYTES)).status == 431
    assert await client.closed()


async def test_a_chunk_line_without_end_is_rejected_at_its_limit(served: Served) -> None:
    client = await served.connect()
    assert (await client.exchange(CHUNKED + b"5;" + b"a" * MAX_CHUNK_LINE_BYTES)).status == 400
    assert await client.closed()


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"foo", b""])
@pytest.mark.parametrize("connection", [(b"Connection: Upgrade",), (b"Connection: keep-alive, upgrade",), ()])
async def test_an_upgrade_with_a_body_is_rejected_and_its_body_is_no_request(
    served: Served, protocol: bytes, connection: tuple[bytes, ...]
) -> None:
    """RFC 9110 section 7.8: a server that knew the protocol would read the body first, or not at all."""
    inner = request(b"/inner")
    chunk = b"%x\r\n%b\r\n" % (len(inner), inner)
    for framing, body in ((b"Content-Length: %d" % len(inner), inner), (b"Transfer-Encoding: chunked", chunk + END)):
        fields = (b"Upgrade: " + protocol, *connection, framing)
        await assert_rejected(served, request(b"/", *fields, method=b"POST") + body)
    old = request(
        b"/", b"Upgrade: " + protocol, b"Content-Length: %d" % len(inner), method=b"POST", version=b"HTTP/1.0"
    )
    await assert_rejected(served, old + inner)
    assert served.seen == []


@pytest.mark.parametrize("expectation", [b"100-continue, x", b"x", b"", b"200-ok"])
async def test_another_expectation_than_100_continue_is_rejected(served: Served, expectation: bytes) -> None:
    await assert_rejected(served, request(b"/", b"Expect: " + expectation))
    await assert_rejected(served, request(b"/", b"Expect: 100-continue", b"Expect: 100-continue"))
    assert served.seen == []


async def test_a_target_is_at_most_8_kib_long(served: Served) -> None:
    longest = b"/".ljust(MAX_TARGET_BYTES, b"a")
    assert (await served.exchange(request(longest))).status == 200
    assert (await served.exchange(request(longest, method=b"UNSUBSCRIBE"))).status == 200
    served.seen.clear()
    await assert_rejected(served, request(longest + b"a"), 414, "uri_too_long")
    await assert_rejected(served, request(longest + b"a", method=b"UNSUBSCRIBE"), 414, "uri_too_long")
    assert served.seen == []


async def test_a_target_without_end_is_rejected_at_the_limit(served: Served) -> None:
    client = await served.connect()
    assert (await client.exchange(b"GET /" + b"a" * (MAX_TARGET_BYTES + 100))).status == 414
    assert await client.closed()


async def test_a_quote_in_a_query_counts_as_it_is_read(served: Served) -> None:
    longest = b"/?".ljust(MAX_TARGET_BYTES - 2, b"a")
    assert (await served.exchange(request(longest[:-1] + b"'"))).status == 200
    served.seen.clear()
    await assert_rejected(served, request(longest + b"'"), 414, "uri_too_long")
    await assert_rejected(served, request(b"/?" + b"'" * 4096), 414, "uri_too_long")
    assert served.seen == []


async def test_there_are_at_most_100_fields(served: Served) -> None:
    fields = [b"X: a"] * (MAX_FIELDS - 1)
    assert (await served.exchange(request(b"/", *fields))).status == 200
    served.seen.clear()
    await assert_rejected(served, request(b"/", *fields, b"X: a"), 431, "request_header_fields_too_large")
    assert served.seen == []


async def test_fields_are_at_most_32_kib_together(served: Served) -> None:
    room = MAX_FIELD_BYTES - len(HOST + b"X: \r\n\r\n")
    assert (await served.exchange(request(b"/", b"X: " + b"a" * room))).status == 200
    served.seen.clear()
    for value in (b"a" * (room + 1), b" " * (room + 1), b"a" + b" " * room):
        await assert_rejected(served, request(b"/", b"X: " + value), 431, "request_header_fields_too_large")
    assert served.seen == []


@pytest.mark.parametrize("start", [b"X: ", b"X", b"X:", b""])
async def test_a_field_without_end_is_rejected_at_the_limit(served: Served, start: bytes) -> None:
    client = await served.connect()
    endless = b"GET / HTTP/1.1\r\nHost: a\r\n" + start + b"a" * MAX_FIELD_BYTES
    assert (await client.exchange(endless)).status == 431
    assert await client.closed()
    assert served.seen == []


async def test_a_fault_after_good_requests_is_answered_behind_their_answers(served: Served) -> None:
    client = await served.connect()
    await client.send(request(b"/a") + request(b"/b") + request(b"/c#") + request(b"/d"))
    assert (await client.answer()).body == b"/a? "
    assert (await client.answer()).body == b"/b? "
    assert (await client.answer()).status == 400
    assert await client.closed()
    assert [seen.path for seen in served.seen] == [b"/a", b"/b"]


async def test_a_rejected_head_request_has_no_body(served: Served) -> None:
    client = await served.connect()
    await client.send(request(b"/#", method=b"HEAD"))
    answer = await client.answer(to_head=True)
    assert answer.status == 400
    assert answer.headers["content-length"] == str(len("bad_request"))
    assert await client.closed()


async def test_each_fault_is_reported_once_and_without_what_came(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    served.errors.rejections.clear()
    answer = await served.exchange(request(b"/secret?#", b"Authorization: Bearer secret"))
    assert answer.code == "bad_request"
    ((error, _, scope),) = served.errors.rejections
    assert scope is None
    assert error.detail
    assert "secret" not in error.detail + str(error) + caplog.text


@pytest.mark.parametrize(
    "data",
    [
        request(b"/#", b"Origin:  https://a.example \t", b"X-Last: b"),
        request(b"/", b"Origin: https://a.example", b"X : a", b"X-Last: b"),
        request(b"/" + b"a" * MAX_TARGET_BYTES, b"Origin: https://a.example", b"X-Last: b"),
        request(b"/", b"Content-Length: x", b"Origin: https://a.example", b"X-Last: b", method=b"POST"),
    ],
)
async def test_a_rejection_comes_with_the_fields_that_could_be_read(served: Served, data: bytes) -> None:
    served.errors.rejections.clear()
    assert (await served.exchange(data)).status in (400, 414)
    ((_, fields, scope),) = served.errors.rejections
    assert scope is None
    assert {(b"host", b"a"), (b"origin", b"https://a.example"), (b"x-last", b"b")} <= set(fields)


async def test_a_rejection_within_a_body_comes_with_the_scope_of_its_application(served: Served) -> None:
    served.errors.rejections.clear()
    assert (await served.exchange(CHUNKED + b"oops\r\n")).status == 400
    ((_, fields, scope),) = served.errors.rejections
    assert scope is not None
    assert fields == scope["headers"] == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]


async def test_the_fields_of_a_rejected_head_are_bounded_and_end_with_it(served: Served) -> None:
    served.errors.rejections.clear()
    await assert_rejected(served, request(b"/#", *[b"X: a"] * 5000))
    await assert_rejected(served, request(b"/#") + b"Origin: b\r\n")
    (_, many, _), (_, few, _) = served.errors.rejections
    assert len(many) == MAX_FIELDS
    assert few == [(b"host", b"a")]
