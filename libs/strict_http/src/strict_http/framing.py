"""The bytes of one connection, cut where a request line, a head or a body ends.

The parser of uvicorn gets a head once it is whole and a body to its exact end, and no byte of the next request before
the answer to the last is complete.
"""

import re
from abc import abstractmethod
from collections.abc import Callable
from enum import IntEnum, auto
from typing import Any, ClassVar, override

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from strict_http.exchange import Exchange, Flow
from strict_http.request_head import (
    MAX_FIELD_BYTES,
    MAX_LINE_BYTES,
    RequestLine,
    fields_too_large,
    read_request_line,
    refused,
    target_too_long,
)

MAX_CHUNK_LINE_BYTES = 256
"""Of a chunk's size and extensions; extensions mean nothing here (RFC 9112 section 7.1.1)."""

MALFORMED = "The request is malformed."

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[;\r]")


class Stage(IntEnum):
    """What the next byte belongs to."""

    LINE = 0
    FIELDS = auto()
    BODY = auto()
    CHUNKS = auto()
    TRAILERS = auto()
    ANSWER = auto()  # the next request, which waits
    CLOSED = auto()  # nothing any more


class StagedProtocol(HttpToolsProtocol):
    """Takes what has come from `_pending`, stage by stage; a fault is raised where it is found."""

    # the parser calls what is there; of its events these carry nothing that is not known already
    on_message_begin = None  # type: ignore[assignment]
    on_url = None  # type: ignore[assignment]
    on_headers_complete = None  # type: ignore[assignment]

    flow: Flow
    cycle: Exchange

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self.headers: list[tuple[bytes, bytes]] = []
        self._stage = Stage.LINE
        self._pending = b""
        self._request: RequestLine = ("", b"", b"", "")
        self._line_end = 0
        self._searched = 0
        self._remaining = 0
        self._blank_line_seen = False
        self._message_complete = False

    @abstractmethod
    def _begin(self) -> None:
        """Judge the head in `_request` and `headers`."""

    @abstractmethod
    def _start(self) -> None:
        """Start on the request; its answer may be complete on return."""

    def _take_all(self) -> None:
        """Go on until more bytes are needed, or the answer.

        Raises:
            ProblemError: the request is refused.
            httptools.HttpParserError: it is malformed.
            httptools.HttpParserUpgrade: it wants another protocol.
        """
        while self._pending and self._STEPS[self._stage](self):
            pass

    def _take_line(self) -> bool:
        data = self._pending
        if not data[:1].isupper() and data[:1] != b"\r":
            raise refused("The request line is malformed.")
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
                raise refused(MALFORMED)
            if len(data) - start > MAX_FIELD_BYTES:
                raise fields_too_large()
            self._searched = max(start - 1, len(data) - 2)
            return False
        self.headers, self._message_complete = [], False
        self.parser.feed_data(data[:end])
        self._begin()
        self._pending = data[end:]
        self._start()
        return True

    def _take_body(self) -> bool:
        data, length = self._pending, self._remaining
        self._pending = data[length:]
        self._remaining = max(0, length - len(data))
        self.parser.feed_data(data[:length])
        if not self._remaining:
            self._end_body()
        return True

    def _take_chunks(self) -> bool:
        """Hand the parser all the chunks that are there at once: tiny ones must not cost a slice each."""
        data, place = self._pending, 0
        while self._stage is Stage.CHUNKS:
            if self._remaining:
                step = min(self._remaining, len(data) - place)
                place, self._remaining = place + step, self._remaining - step
            end = data.find(b"\n", place) + 1
            if (end or len(data)) - place > MAX_CHUNK_LINE_BYTES and not self._remaining:
                raise refused("A chunk's extensions are too long.")
            if self._remaining or not end:
                break
            size = _chunk_size(data, place)
            place = end
            if size:
                self._remaining = size + len(b"\r\n")
            else:
                # the scope keeps its list, trailers go into one that nobody reads
                self.headers, self._remaining, self._stage = [], MAX_FIELD_BYTES, Stage.TRAILERS
        self.parser.feed_data(data[:place])
        self._pending = data[place:]
        return place > 0

    def _take_trailers(self) -> bool:
        data = self._pending
        end = data.find(b"\n") + 1
        if (end or len(data)) > self._remaining:
            raise fields_too_large()
        self._remaining -= end
        self.parser.feed_data(data[:end])
        self._pending = data[end:]
        if data[:end] == b"\r\n":
            self._end_body()
        return end > 0

    def _end_body(self) -> None:
        if not self._message_complete:
            raise refused("The length of the body is unclear.")
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._stage = Stage.ANSWER

    def _hold(self) -> bool:
        if len(self._pending) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
            self.flow.held = True
        return False

    _STEPS: ClassVar[list[Callable[["StagedProtocol"], bool]]] = [
        _take_line,
        _take_fields,
        _take_body,
        _take_chunks,
        _take_trailers,
        _hold,
    ]
    """In the order of the stages."""

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        # the parser leaves white space behind a value (RFC 9112 section 5.1 excludes it)
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    @override
    def on_body(self, body: bytes) -> None:
        self.cycle.waiting_for_100_continue = False
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    @override
    def on_message_complete(self) -> None:
        self._message_complete = True


def _chunk_size(data: bytes, place: int) -> int:
    size = _CHUNK_SIZE.match(data, place)
    if size is None:
        raise refused(MALFORMED)
    return int(size[1], 16)
