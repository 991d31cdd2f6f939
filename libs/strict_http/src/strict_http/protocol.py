"""HTTP/1 on one connection: one request is read and answered before the next is looked at.

So no fault can fall into another response, and no client can make more than one request wait in memory.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast, override
from urllib.parse import unquote

import httptools
from uvicorn import Config

from strict_http.asgi import App, Scope
from strict_http.errors import ErrorResponses, RejectedError
from strict_http.exchange import Exchange, error_response
from strict_http.flow import Flow
from strict_http.framing import FREE_FRAMING_BYTES, MALFORMED, FramingProtocol, Stage
from strict_http.request_head import CHUNKED, bad_request, read_framing, readable_fields
from strict_http.slow_client import SlowClientGuard, UploadPace
from strict_http.timeouts import Timeouts, Wait

if TYPE_CHECKING:
    from uvicorn.server import ServerState

_HEAD = (Stage.LINE, Stage.FIELDS)


class StrictConfig(Config):
    """How `StrictProtocol` is served; everything else that uvicorn can do is off."""

    def __init__(self, app: App, errors: ErrorResponses, *, keepalive_seconds: int, graceful_seconds: int) -> None:
        super().__init__(
            app,
            interface="asgi3",
            http=StrictProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=keepalive_seconds,
            timeout_graceful_shutdown=graceful_seconds,
        )
        self.errors = errors


class StrictProtocol(FramingProtocol):
    """One connection, as uvicorn's server makes it; after a fault it responds and closes."""

    def __init__(
        self,
        config: StrictConfig,
        server_state: "ServerState",
        app_state: dict[str, Any],  # noqa: ARG002 - of a lifespan, which is off
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__()
        self._app = cast(App, config.loaded_app)
        self._errors = config.errors
        self._server_state = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._timeouts = Timeouts(self._loop, config.timeout_keep_alive, self._on_timeout)
        self._stopping = False
        self._receiving = False
        self._used = False
        """A request was answered."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server = _address(self._transport, "sockname")
        self._client = _address(self._transport, "peername")
        self._flow = Flow(self._transport)
        self._slow_client = SlowClientGuard(self._loop, self._transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type] # uvicorn lists its own protocols
        self._set_timeout()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(self)
        self._close()
        self._slow_client.stop()
        if hasattr(self, "_exchange"):  # a request was read
            self._exchange.connection_lost()
        self._flow.resume_writing()
        # the parser holds this protocol in turn
        del self._parser

    @override
    def pause_writing(self) -> None:
        self._flow.pause_writing()
        self._slow_client.start()

    @override
    def resume_writing(self) -> None:
        self._flow.resume_writing()
        self._slow_client.note_progress()

    @override
    def data_received(self, data: bytes) -> None:
        if self._stage is not Stage.CLOSED:
            self._pending += data
            self._receiving = True
            self._advance()
            self._receiving = False

    def shutdown(self) -> None:
        """Called by uvicorn's server: close after the response under way, or else after one more request, if any."""
        self._stopping = True
        if self._stage in _HEAD:
            self._set_timeout()
        elif self._stage is not Stage.CLOSED:
            self._exchange.keep_alive = False

    def _advance(self) -> None:
        try:
            self._consume()
        except RejectedError as error:
            self._reject(error)
        except httptools.HttpParserError:
            self._reject(bad_request(MALFORMED))
        if self._interrupted:
            self._flow.pause_reading()
            self._flow.held = True
            self._loop.call_soon(self._resume)
        self._set_timeout()

    def _resume(self) -> None:
        if self._stage is Stage.CHUNKS:
            self._flow.held = False
            self._flow.resume_reading()
            self._advance()

    @override
    def _begin(self) -> None:
        length, keep_alive, expects_continue = read_framing(self._headers, self._request)
        if self._message_complete is not (length == 0):
            raise bad_request("The length of the body is unclear.")
        self._exchange = Exchange(
            self._make_scope(),
            self._transport,
            self._flow,
            self._server_state.default_headers,
            self._errors,
            self._on_response_complete,
            keep_alive=keep_alive and not self._stopping,
            expects_continue=expects_continue,
        )
        if length == 0:
            self._end_body()
        else:
            self._remaining = max(length, 0)
            self._framing_budget, self._trailer_lines = FREE_FRAMING_BYTES, 0
            self._stage = Stage.CHUNKS if length == CHUNKED else Stage.BODY
            self._upload = UploadPace()

    @override
    def _start(self) -> None:
        # a whole request with nothing after it starts at once, which saves an iteration of the loop; never nested
        eager = self._receiving and self._stage is Stage.RESPONSE and not self._pending
        if eager:
            # a whole response may come before `_set_timeout`, which would take the next wait for the current one
            self._timeouts.wait_for(Wait.NOTHING)
        task = asyncio.Task(self._exchange.run(self._app), loop=self._loop, eager_start=eager)
        if not task.done():
            self._server_state.tasks.add(task)
            task.add_done_callback(self._server_state.tasks.discard)

    def _make_scope(self) -> Scope:
        line = self._request
        path = line.path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": line.version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": line.method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": line.path,
            "query_string": line.query,
            "headers": self._headers,
            "state": {},
        }

    def _on_response_complete(self) -> None:
        self._server_state.total_requests += 1
        self._slow_client.start()
        if self._transport.is_closing():
            return
        if self._exchange.early:
            self._linger()
            return
        self._stage, self._blank_line_seen, self._used = Stage.LINE, False, True
        self._flow.held = False
        self._flow.resume_reading()
        if self._pending:
            self._advance()
        else:
            self._timeouts.wait_for(Wait.REQUEST)

    def _reject(self, error: RejectedError) -> None:
        if self._stage in _HEAD:
            is_head = self._pending.startswith(b"HEAD ")
            response = self._errors.rejected(error, readable_fields(self._pending), None)
        elif self._exchange.response_started:
            self._close()
            self._transport.close()
            return
        else:
            scope = self._exchange.scope
            is_head = scope["method"] == "HEAD"
            self._exchange.abandon()
            response = self._errors.rejected(error, scope["headers"], scope)
        self._transport.write(error_response(response, self._server_state.default_headers, with_body=not is_head))
        self._slow_client.start()
        self._linger()

    def _linger(self) -> None:
        """End the response, and read on for a while: closing on unread bytes could destroy it on its way."""
        self._close()
        if not self._transport.is_closing():
            self._flow.held = False
            self._flow.resume_reading()
            self._transport.write_eof()
            self._timeouts.wait_for(Wait.CLOSE)

    def _close(self) -> None:
        self._stage, self._pending = Stage.CLOSED, b""
        self._timeouts.stop()

    def _set_timeout(self) -> None:
        if self._stage is Stage.RESPONSE:
            self._timeouts.wait_for(Wait.NOTHING)
        elif self._silent and self._stopping:
            self._timeouts.wait_for(Wait.LAST_REQUEST)
        elif self._silent and self._used:
            self._timeouts.wait_for(Wait.REQUEST)
        elif self._stage in _HEAD:
            self._timeouts.wait_for(Wait.HEAD)
        elif self._stage is not Stage.CLOSED:
            self._timeouts.wait_for(Wait.BODY)

    @property
    def _silent(self) -> bool:
        """Nothing of a request has arrived: a response would be taken for that to the next one."""
        return self._stage is Stage.LINE and not self._pending and not self._blank_line_seen

    def _on_timeout(self, missed: Wait) -> None:
        if self._transport.is_closing():
            return
        if missed is Wait.BODY and self._upload.goes_on(self._exchange.received, held_back=self._flow.read_paused):
            self._timeouts.wait_for(Wait.BODY)
        elif missed in (Wait.HEAD, Wait.BODY) and not self._silent:
            self._reject(RejectedError("request_timeout", "The request did not arrive in time."))
        else:
            self._transport.close()


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    address = transport.get_extra_info(name)
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None
