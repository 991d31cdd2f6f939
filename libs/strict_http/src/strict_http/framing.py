"""The bytes of one connection, cut where a request line, a head or a body ends.

The parser gets a head once it is complete and a body to its exact end, and no byte of the next request before the
response to the last one is complete. How the bytes were cut into packets therefore never matters.
"""

import asyncio
import contextlib
import re
from abc import abstractmethod
from collections.abc import Callable
from enum import IntEnum, auto
from typing import ClassVar

import httptools

from strict_http.exchange import Exchange
from strict_http.flow import MAX_BUFFERED_BYTES, Flow
from strict_http.request_head import (
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    MAX_LINE_BYTES,
    RequestLine,
    bad_request,
    fields_too_large,
    read_request_line,
    target_too_long,
)

MAX_CHUNK_LINE_BYTES = 256
"""Of a chunk's size and extensions; extensions mean nothing here (RFC 9112 section 7.1.1)."""

FREE_FRAMING_BYTES = 16 * 1024
CONTENT_PER_FRAMING_BYTE = 4
"""Of a chunked body: beyond the first 16 KiB of sizes, extensions and line ends, each byte of them needs so many bytes
of content. A chunk costs as much to read as kilobytes of content, so tiny ones would cost others their time."""

CHUNKS_AT_ONCE = 128
"""After so many chunks, which take 0.2 ms, other connections have their turn."""

MALFORMED = "The request is malformed."

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[;\r]")


class Stage(IntEnum):
    """What the next byte belongs to."""

    LINE = 0
    FIELDS = auto()
    BODY = auto()
    CHUNKS = auto()
    TRAILERS = auto()
    RESPONSE = auto()  # to the next request, which waits for the response
    CLOSED = auto()  # to nothing any more


class FramingProtocol(asyncio.Protocol):
    """Consumes `_pending` stage by stage, and raises a fault where it finds it."""

    def __init__(self) -> None:
        self._flow: Flow
        self._exchange: Exchange
        self._parser = httptools.HttpRequestParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._stage = Stage.LINE
        self._pending = b""
        self._request: RequestLine
        self._line_end = 0
        self._searched = 0
        self._remaining = 0
        self._framing_budget = 0
        self._trailer_lines = 0
        self._body: list[bytes] = []
        self._interrupted = False
        """Chunks are left for another iteration of the loop."""
        self._blank_line_seen = False
        self._message_complete = False

    @abstractmethod
    def _begin(self) -> None:
        """Check the head in `_request` and `_headers`, and make the exchange."""

    @abstractmethod
    def _start(self) -> None:
        """Run the application; its response may be complete on return."""

    def _consume(self) -> None:
        """Go on until more bytes are needed, or the response.

        Raises:
            RejectedError: the request is rejected.
            httptools.HttpParserError: it is malformed.
        """
        self._interrupted = False
        while self._pending and self._STEPS[self._stage](self):
            pass

    def _take_line(self) -> bool:
        data = self._pending
        if not data[:1].isupper() and data[:1] != b"\r":
            raise bad_request("The request line is malformed.")
        end = data.find(b"\n") + 1
        if not end:
            if len(data) > MAX_LINE_BYTES:
                raise target_too_long()
            return False
        if data.startswith(b"\r\n") and not self._blank_line_seen:
            # RFC 9112 section 2.2: one empty line before a request is ignored
            self._pending, self._blank_line_seen = data[2:], True
            return True
        self._request = read_request_line(data[:end])
        self._line_end, self._searched = end, end - 1
        self._stage = Stage.FIELDS
        return True

    def _take_fields(self) -> bool:
        data, start = self._pending, self._line_end
        end = data.find(b"\n\r\n", self._searched) + 3
        if end < start or end - start > MAX_FIELD_BYTES:
            if data.find(b"\n\n", start - 1, start + MAX_FIELD_BYTES) >= 0:
                raise bad_request(MALFORMED)
            if len(data) - start > MAX_FIELD_BYTES:
                raise fields_too_large()
            self._searched = max(start - 1, len(data) - 2)
            return False
        if data.count(b"\n", start, end) - 1 > MAX_FIELDS:
            raise fields_too_large()
        self._headers, self._message_complete = [], False
        # `_begin` decides about `Upgrade`; the parser then reads on as if it had not been there
        with contextlib.suppress(httptools.HttpParserUpgrade):
            self._parser.feed_data(data[:end])
        self._begin()
        self._pending = data[end:]
        self._start()
        return True

    def _take_body(self) -> bool:
        data, length = self._pending, self._remaining
        self._pending = data[length:]
        self._remaining = max(0, length - len(data))
        self._parse_body(data[:length])
        if not self._remaining:
            self._end_body()
        return True

    def _take_chunks(self) -> bool:
        """Give the parser complete chunks many at once: tiny ones must not cost a slice each."""
        data, place = self._pending, 0
        for _ in range(CHUNKS_AT_ONCE):
            step = min(self._remaining, len(data) - place)
            place, self._remaining = place + step, self._remaining - step
            end = data.find(b"\n", place, place + MAX_CHUNK_LINE_BYTES) + 1
            if not end:
                if len(data) - place >= MAX_CHUNK_LINE_BYTES:
                    raise bad_request("A chunk's extensions are too long.")
                break
            size = self._read_chunk_line(data, place, end)
            place = end
            if not size:
                # the scope keeps its list; trailers go into another one, which nobody reads
                self._headers, self._remaining, self._stage = [], MAX_FIELD_BYTES, Stage.TRAILERS
                break
            self._remaining = size + len(b"\r\n")
        else:
            self._interrupted = True
        self._parse_body(data[:place])
        self._pending = data[place:]
        return place > 0 and not self._interrupted

    def _read_chunk_line(self, data: bytes, start: int, end: int) -> int:
        found = _CHUNK_SIZE.match(data, start)
        if found is None:
            raise bad_request(MALFORMED)
        size = int(found[1], 16)
        self._framing_budget += size // CONTENT_PER_FRAMING_BYTE - (end - start) - len(b"\r\n")
        if self._framing_budget < 0:
            raise bad_request("The chunks of the body are too small.")
        return size

    def _take_trailers(self) -> bool:
        """Give the parser all complete lines at once, up to the empty one."""
        data = self._pending
        last = 0 if data.startswith(b"\r\n") else data.find(b"\n\r\n") + 1
        ended = last > 0 or data.startswith(b"\r\n")
        end = last + len(b"\r\n") if ended else data.rfind(b"\n") + 1
        self._trailer_lines += data.count(b"\n", 0, end)
        if (end or len(data)) > self._remaining or self._trailer_lines - ended > MAX_FIELDS:
            raise fields_too_large()
        self._remaining -= end
        self._parser.feed_data(data[:end])
        self._pending = data[end:]
        if ended:
            self._end_body()
        return end > 0

    def _parse_body(self, data: bytes) -> None:
        self._parser.feed_data(data)
        body, self._body = b"".join(self._body), []
        if body and self._exchange.add_body(body) > MAX_BUFFERED_BYTES:
            self._flow.pause_reading()

    def _end_body(self) -> None:
        if not self._message_complete:
            raise bad_request("The length of the body is unclear.")
        self._exchange.complete_request()
        self._stage = Stage.RESPONSE

    def _hold(self) -> bool:
        if len(self._pending) > MAX_BUFFERED_BYTES:
            self._flow.pause_reading()
            self._flow.held = True
        return False

    _STEPS: ClassVar[list[Callable[["FramingProtocol"], bool]]] = [
        _take_line,
        _take_fields,
        _take_body,
        _take_chunks,
        _take_trailers,
        _hold,
    ]
    """In the order of the stages."""

    # called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        # the parser leaves white space after a value (RFC 9112 section 5.1 excludes it)
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._message_complete = True
