"""What a connection brings, held to a second reader and to itself however it is cut into packets."""

import asyncio
import random
import re
import zlib

import uvloop

from libs.strict_http.tests.reference import Good, read
from libs.strict_http.tests.wire import Recorder, converse
from strict_http.request_head import MAX_FIELDS

CHUNKED_HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
RUNNER = asyncio.Runner(loop_factory=uvloop.new_event_loop)
TOO_LARGE = re.compile(rb"HTTP/1\.1 (414|431) ")
MALFORMED = b"HTTP/1.1 400 "


def head(data: bytes) -> None:
    """`data` is all that comes over a connection: requests that a second reader takes, and nothing else, are served."""
    at_once, written = RUNNER.run(converse([data], patient=True))
    in_pieces, written_in_pieces = RUNNER.run(converse(_cut(data), patient=False))
    assert at_once.served == in_pieces.served
    assert written == written_in_pieces
    _check(data, at_once, written)


def chunks(data: bytes) -> None:
    """`data` is the body of a request with chunks, and what follows it."""
    head(CHUNKED_HEAD + data)


def _check(data: bytes, recorder: Recorder, written: bytes) -> None:
    expected = read(data)
    good = [_served(each) for each in expected.good]
    responses = re.findall(rb"HTTP/1\.1 [0-9]{3} ", written)
    if TOO_LARGE.search(written):
        assert data.count(b"\n") > MAX_FIELDS
        assert recorder.served == good[: len(recorder.served)]
    elif expected.unsure:
        assert recorder.served[: len(good)] == good
    else:
        assert recorder.served == good
        assert (MALFORMED in responses) == expected.faulty


def _served(good: Good) -> tuple[str, bytes, bytes, list[tuple[bytes, bytes]], bytes]:
    return good.method, good.path, good.query, good.headers, good.body


def _cut(data: bytes) -> list[bytes]:
    """Packets of random lengths, the same for the same bytes."""
    lengths = random.Random(zlib.crc32(data))
    pieces = []
    while data:
        length = lengths.randint(1, 40)
        pieces.append(data[:length])
        data = data[length:]
    return pieces
