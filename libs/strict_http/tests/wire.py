"""One connection without a socket: what comes is cut as the test says."""

import asyncio
from typing import Any, override

from uvicorn.server import ServerState

from libs.strict_http.tests.raw import Errors, read_body
from strict_http.asgi import App, Receive, Scope, Send, respond
from strict_http.protocol import StrictConfig, StrictProtocol

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closing = False
        self.ended = False

    @override
    def write(self, data: Any) -> None:
        assert not self.closing
        assert not self.ended
        self.written += data

    @override
    def write_eof(self) -> None:
        assert not self.ended
        self.ended = True

    @override
    def close(self) -> None:
        self.closing = True

    @override
    def is_closing(self) -> bool:
        return self.closing

    @override
    def pause_reading(self) -> None:
        self.reading = False

    @override
    def resume_reading(self) -> None:
        self.reading = True


class Recorder:
    """An application that answers what it read, once all of it has come."""

    def __init__(self) -> None:
        self.calls = 0
        self.served: list[tuple[str, bytes, bytes, list[tuple[bytes, bytes]], bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        body = await read_body(receive)
        if body is not None:
            headers = list(scope["headers"])
            self.served.append((scope["method"], scope["raw_path"], scope["query_string"], headers, body))
            await respond(send, 200, [], body)


def connected(app: App, wire: Wire, state: ServerState) -> StrictProtocol:
    """A connection of a server with `app`."""
    config = StrictConfig(app, Errors(), keepalive_seconds=75, graceful_seconds=25)
    config.load()
    protocol = StrictProtocol(config, state, {}, asyncio.get_running_loop())
    protocol.connection_made(wire)
    return protocol


async def converse(pieces: list[bytes], *, patient: bool) -> tuple[Recorder, bytes]:
    """Send the pieces, waiting for the application after each or never; what it met and what was written."""
    recorder, state, wire = Recorder(), ServerState(), Wire()
    protocol = connected(recorder, wire, state)
    for piece in pieces:
        if not wire.closing:
            protocol.data_received(piece)
        if patient:
            await settle(recorder, wire)
    await settle(recorder, wire)
    protocol.connection_lost(None)
    await asyncio.gather(*state.tasks)
    return recorder, wire.written.replace(CONTINUE, b"")


async def settle(recorder: Recorder, wire: Wire) -> None:
    seen, quiet = (recorder.calls, wire.written), 0
    while quiet < 4:
        await asyncio.sleep(0)
        now = (recorder.calls, wire.written)
        seen, quiet = now, quiet + 1 if now == seen else 0
