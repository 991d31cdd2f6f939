"""Whatever comes, cut however it is: only good requests are served, each once and in order."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.strict_http.tests.reference import Good, read
from libs.strict_http.tests.wire import converse

REQUESTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v1/todos?a=%20b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-Empty:\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /cl HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET /in HTTP",
    b"POST /te HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
    b"PUT /tr HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: a\r\n\r\n",
    b"\r\nPATCH /ex HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"DELETE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET http://A/x?b='c' HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS HTTPS://a HTTP/1.1\r\nHost: A\r\n\r\n",
    b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    b"POST /Te HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\nC: d\r\n\r\n",
]
PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"#", b"'", b"%", b"/", b"?", b"0",
    b"5", b"\xff",
    b"Host: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n", b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"Connection: close\r\n",
    b"Expect: x\r\n", b"0\r\n\r\n", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/2.0", b"HTTP/1.0", b"http://b",
    b"http://a", b"a@", b"Transfer-Encoding: Chunked\r\n", b"chunked, ", b"Content_Length: 5\r\n",
]  # fmt: skip


def answer_to(request: Good) -> bytes:
    lines = [
        b"HTTP/1.1 200 OK",
        b"content-length: %d" % len(request.body),
        *[b"connection: close"] * request.closes,
        b"",
    ]
    return b"".join(line + b"\r\n" for line in lines) + (b"" if request.method == "HEAD" else request.body)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A pipeline of good requests with some bytes put in, taken out, exchanged or repeated."""
    data = b"".join(draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 8, len(data))))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=2) | st.just(data[start:end] * 2))
        data = data[:start] + piece + data[end:]
    return data


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as made:
        yield made


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@settings(max_examples=600, deadline=None)
@given(data=mutated(), places=CUTS, patient=st.booleans())
def test_only_good_requests_are_served_each_once_and_in_order(
    runner: asyncio.Runner,
    data: bytes,
    places: list[int],
    patient: bool,  # noqa: FBT001 - drawn
) -> None:
    recorder, written = runner.run(converse(cut(data, places), patient=patient))
    expected = read(data)
    served = [(good.method, good.path, good.query, good.headers, good.body) for good in expected.good]
    answers = b"".join(map(answer_to, expected.good))
    assert recorder.served[: len(served)] == served
    assert written.startswith(answers)
    if not expected.unsure:
        assert len(recorder.served) == len(served)
        assert recorder.calls <= len(served) + 1
        rest = written[len(answers) :]
        assert rest.startswith(b"HTTP/1.1 400 Bad Request\r\n") if expected.faulty else rest == b""
        assert rest.count(b"\r\n\r\n") == expected.faulty


@settings(max_examples=300, deadline=None)
@given(data=mutated(), first=CUTS, second=CUTS, patient=st.booleans())
def test_how_the_bytes_are_cut_never_matters(
    runner: asyncio.Runner,
    data: bytes,
    first: list[int],
    second: list[int],
    patient: bool,  # noqa: FBT001 - drawn
) -> None:
    one, one_written = runner.run(converse(cut(data, first), patient=patient))
    other, other_written = runner.run(converse(cut(data, second), patient=not patient))
    assert one.served == other.served
    assert one_written == other_written


@settings(max_examples=20, deadline=None)
@given(data=mutated())
def test_byte_by_byte_is_as_good_as_at_once(runner: asyncio.Runner, data: bytes) -> None:
    one, one_written = runner.run(converse([data], patient=True))
    other, other_written = runner.run(converse(cut(data, list(range(len(data)))), patient=False))
    assert one.served == other.served
    assert one_written == other_written


def test_the_reference_knows_the_good_requests() -> None:
    for request in REQUESTS:
        reading = read(request)
        assert len(reading.good) == 1
        assert not reading.faulty
    assert read(REQUESTS[4]).good[0].body == b"hello!"
