"""HTTP/1 on one connection, strictly: uvicorn's protocol, its parser on a short lead.

uvicorn hands the parser what comes, and acts on what it says. Here one request is read and answered before the next is
looked at. So no fault can fall into another answer, no client can make more than one request wait in memory, and how
the bytes were cut into packets never matters. It rests on the internals of the one version of uvicorn that is pinned.
"""

import asyncio
from typing import Any, override
from urllib.parse import unquote

import httptools
from uvicorn._types import HTTPScope

from runtime.problems import ProblemError
from strict_http.exchange import Exchange, Flow, refusal
from strict_http.framing import MALFORMED, Stage, StagedProtocol
from strict_http.request_head import CHUNKED, MAX_FIELDS, fields_too_large, read_framing, refused
from strict_http.slow_client import ReaderWatch
from strict_http.timeouts import Clock, Wait

_HEAD = (Stage.LINE, Stage.FIELDS)


class StrictProtocol(StagedProtocol):
    """The HTTP protocol both services run; a fault answers a problem and closes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self._clock = Clock(self.loop, self.timeout_keep_alive, self._on_time)
        self._stopping = False
        self._receiving = False

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._reader = ReaderWatch(self.loop, transport)
        self._watch()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._close()
        self._reader.stop()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._reader.start()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader.read_on()

    @override
    def data_received(self, data: bytes) -> None:
        if self._stage is not Stage.CLOSED:
            self._pending += data
            self._receiving = True
            self._advance()
            self._receiving = False

    @override
    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._reader.start()
        if self.transport.is_closing():
            return
        if self.cycle.early:
            self._linger()
            return
        self._stage, self._blank_line_seen = Stage.LINE, False
        self.flow.held = False
        self.flow.resume_reading()
        if self._pending:
            self._advance()
        else:
            self._clock.wait_for(Wait.REQUEST)

    @override
    def shutdown(self) -> None:
        """Close behind the answer under way, or else behind one more request, if it comes soon."""
        self._stopping = True
        if self._stage in _HEAD:
            self._watch()
        elif self._stage is not Stage.CLOSED:
            super().shutdown()

    def _advance(self) -> None:
        try:
            self._take_all()
        except ProblemError as problem:
            self._refuse(problem)
        except httptools.HttpParserUpgrade:
            self._refuse(refused("Upgrade is not supported."))
        except httptools.HttpParserError:
            self._refuse(refused(MALFORMED))
        self._watch()

    @override
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
            keep_alive=keep_alive and not self._stopping,
            on_response=self.on_response_complete,
        )
        if length == 0:
            self._end_body()
        else:
            self._remaining = max(length, 0)
            self._stage = Stage.CHUNKS if length == CHUNKED else Stage.BODY

    @override
    def _start(self) -> None:
        # a whole request with nothing behind it starts at once, which saves a turn of the loop; none within another
        eager = self._receiving and self._stage is Stage.ANSWER and not self._pending
        if eager:
            # a whole answer may come before `_watch`, which would take the wait behind it for the one before it
            self._clock.wait_for(Wait.NOTHING)
        task = asyncio.Task(self.cycle.run_asgi(self.app), loop=self.loop, eager_start=eager)
        if not task.done():
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _make_scope(self) -> HTTPScope:
        method, raw_path, query, version = self._request
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
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
        self._reader.start()
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
        self._stage, self._pending = Stage.CLOSED, b""
        self._clock.stop()

    def _watch(self) -> None:
        if self._stage is Stage.ANSWER:
            self._clock.wait_for(Wait.NOTHING)
        elif self._stage is Stage.LINE and not self._pending:
            self._clock.wait_for(Wait.LAST_REQUEST if self._stopping else Wait.REQUEST)
        elif self._stage in _HEAD:
            self._clock.wait_for(Wait.HEAD)
        elif self._stage is not Stage.CLOSED:
            self._clock.wait_for(Wait.BODY)

    def _on_time(self, missed: Wait) -> None:
        if self.transport.is_closing():
            return
        if missed in (Wait.HEAD, Wait.BODY):
            self._refuse(ProblemError("request_timeout", "The request did not come in time."))
        else:
            self.transport.close()
