"""HTTP/1 on one connection, strictly: uvicorn's protocol, its parser on a short lead.

uvicorn hands the parser what comes, and acts on what it says. Here the parser gets a head once it is whole and a body
to its exact end, and no byte of the next request before the answer to the last is complete. So no fault can fall into
another answer, no client can make more than one request wait in memory, and how the bytes were cut into packets
never matters. It rests on the internals of the one version of uvicorn that is pinned.
"""

import asyncio
from collections.abc import Callable
from enum import IntEnum, auto
from typing import Any, ClassVar, Literal, cast, override
from urllib.parse import unquote

import httptools
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.clock import Clock, Wait
from runtime.exchange import Exchange, Flow, refusal
from runtime.head import (
    CHUNKED,
    MAX_FIELD_BYTES,
    MAX_FIELDS,
    MAX_LINE_BYTES,
    RequestLine,
    fields_too_large,
    read_framing,
    read_request_line,
    refused,
    target_too_long,
)
from runtime.problems import ProblemError

MAX_CHUNK_LINE_BYTES = 256
"""Of a chunk's size and extensions; extensions mean nothing here (RFC 9112 section 7.1.1)."""


MALFORMED = "The request is malformed."


class _Stage(IntEnum):
    """What the next byte belongs to."""

    LINE = 0
    FIELDS = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    TRAILERS = auto()
    ANSWER = auto()  # the next request, which waits
    CLOSED = auto()  # nothing any more


_HEAD = (_Stage.LINE, _Stage.FIELDS)


class StrictProtocol(HttpToolsProtocol):
    """The HTTP protocol both services run; a fault answers a problem and closes."""

    # the parser calls what is there; of its events these carry nothing that is not known already
    on_message_begin = None  # type: ignore[assignment]
    on_url = None  # type: ignore[assignment]
    on_headers_complete = None  # type: ignore[assignment]

    flow: Flow
    cycle: Exchange

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self.headers: list[tuple[bytes, bytes]] = []
        self._stage = _Stage.LINE
        self._pending = b""
        self._request: RequestLine = ("", b"", b"", "")
        self._line_end = 0
        self._searched = 0
        self._remaining = 0
        self._blank_line_seen = False
        self._message_complete = False
        self._clock = Clock(self.loop, self.timeout_keep_alive, self._on_time)

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._watch()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._close()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._stage is not _Stage.CLOSED:
            self._pending += data
            self._advance()

    @override
    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.cycle.early:
            self._linger()
            return
        self._stage, self._blank_line_seen = _Stage.LINE, False
        self.flow.held = False
        self.flow.resume_reading()
        if self._pending:
            self._advance()
        else:
            self._clock.wait_for(Wait.REQUEST)

    # what the parser found

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

    # one stage after the other

    def _advance(self) -> None:
        try:
            while self._pending and self._STEPS[self._stage](self):
                pass
        except ProblemError as problem:
            self._refuse(problem)
        except httptools.HttpParserUpgrade:
            self._refuse(refused("Upgrade is not supported."))
        except httptools.HttpParserError:
            self._refuse(refused(MALFORMED))
        self._watch()

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
        self._stage = _Stage.FIELDS
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
        return True

    def _begin(self) -> None:
        if len(self.headers) > MAX_FIELDS:
            raise fields_too_large()
        length, keep_alive, expects_continue = read_framing(self.headers, self._request[3])
        if self._message_complete is not (length == 0):
            raise refused("The length of the body is unclear.")
        self.cycle = Exchange(
            scope=self._make_scope(),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=expects_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)
        if length == 0:
            self._end_body()
        else:
            self._remaining = length
            self._stage = _Stage.CHUNK_SIZE if length == CHUNKED else _Stage.BODY

    def _make_scope(self) -> HTTPScope:
        method, raw_path, query, version = self._request
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": cast(Literal["3.0"], self.asgi_version), "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }

    def _take_body(self) -> bool:
        data, length = self._pending, self._remaining
        self._pending = data[length:]
        self._remaining = max(0, length - len(data))
        self.parser.feed_data(data[:length])
        if not self._remaining:
            if self._stage is _Stage.CHUNK:
                self._stage = _Stage.CHUNK_SIZE
            else:
                self._end_body()
        return True

    def _take_chunk_size(self) -> bool:
        line = self._take_text(MAX_CHUNK_LINE_BYTES, refused("A chunk's extensions are too long."))
        if line:
            size = int(line.partition(b";")[0], 16)
            if not size:
                # the scope keeps its list, trailers go into one that nobody reads
                self.headers = []
            self._stage = _Stage.CHUNK if size else _Stage.TRAILERS
            self._remaining = size + len(b"\r\n") if size else MAX_FIELD_BYTES
        return bool(line)

    def _take_trailers(self) -> bool:
        line = self._take_text(self._remaining, fields_too_large())
        self._remaining -= len(line)
        if line == b"\r\n":
            self._end_body()
        return bool(line)

    def _take_text(self, limit: int, too_long: ProblemError) -> bytes:
        """Hand the parser the next line; empty while it has not come whole."""
        data = self._pending
        end = data.find(b"\n") + 1
        if (end or len(data)) > limit:
            raise too_long
        line, self._pending = data[:end], data[end:]
        if line:
            self.parser.feed_data(line)
        return line

    def _end_body(self) -> None:
        if not self._message_complete:
            raise refused("The length of the body is unclear.")
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._stage = _Stage.ANSWER

    def _hold(self) -> bool:
        if len(self._pending) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
            self.flow.held = True
        return False

    _STEPS: ClassVar[list[Callable[["StrictProtocol"], bool]]] = [
        _take_line,
        _take_fields,
        _take_body,
        _take_chunk_size,
        _take_body,
        _take_trailers,
        _hold,
    ]
    """In the order of the stages."""

    # the end

    def _refuse(self, problem: ProblemError) -> None:
        if self._stage in _HEAD:
            is_head = self._pending.startswith(b"HEAD ")
        elif self.cycle.response_started:
            self._close()
            self.transport.close()
            return
        else:
            is_head = self.cycle.scope["method"] == "HEAD"
            self.cycle.abandon()
        self.transport.write(refusal(problem, self.server_state.default_headers, with_body=not is_head))
        self._linger()

    def _linger(self) -> None:
        """End the answer, and read on for a while: closing on unread bytes could destroy it on its way."""
        self._close()
        if not self.transport.is_closing():
            self.flow.held = False
            self.flow.resume_reading()
            self.transport.write_eof()
            self._clock.wait_for(Wait.CLOSE)

    def _close(self) -> None:
        self._stage, self._pending = _Stage.CLOSED, b""
        self._clock.stop()

    def _watch(self) -> None:
        if self._stage is _Stage.ANSWER:
            self._clock.wait_for(Wait.NOTHING)
        elif self._stage is _Stage.LINE and not self._pending:
            self._clock.wait_for(Wait.REQUEST)
        elif self._stage in _HEAD:
            self._clock.wait_for(Wait.HEAD)
        elif self._stage is not _Stage.CLOSED:
            self._clock.wait_for(Wait.BODY)

    def _on_time(self, missed: Wait) -> None:
        if self.transport.is_closing():
            return
        if missed in (Wait.HEAD, Wait.BODY):
            self._refuse(ProblemError("request_timeout", "The request did not come in time."))
        else:
            self.transport.close()
