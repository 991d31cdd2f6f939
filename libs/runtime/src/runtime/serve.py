"""One process with two listeners, which shuts down without losing requests."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import uvloop
from prometheus_client import CollectorRegistry

from runtime import logs
from runtime.admin import Readiness, admin_app
from runtime.error_responses import OnRejected, ProblemResponses, nothing_more
from strict_http import StrictServer
from strict_http.asgi import App, Message, Receive, Scope, Send

IN_FLIGHT_SECONDS = 25
"""How long requests in flight at the end of the drain may still take."""

COLLECT_AFTER = 20_000
"""How many new objects start a collection of the youngest generation; Python's own threshold is 2000."""

log = logging.getLogger("runtime.serve")


@dataclass(frozen=True)
class Service:
    """What listens on the two ports.

    `on_rejected` is called for each request that the parser rejects. `background` runs beside the listeners. It may
    return early when nothing is left to do; if it raises `StartRefusedError`, the process ends.
    """

    app: App
    readiness: Readiness
    registry: CollectorRegistry
    background: Callable[[], Coroutine[None, None, None]]
    on_rejected: OnRejected = nothing_more


@dataclass(frozen=True)
class Listeners:
    """Where to listen, and how long to go on after SIGTERM; times in seconds."""

    host: str
    port: int
    admin_port: int
    drain_seconds: float
    keepalive_seconds: int


class StartRefusedError(Exception):
    """The service must not serve in this environment; the message explains why, for the operator."""


class Draining:
    """Passes requests on; once `active`, closes each connection after its response (`Connection: close`)."""

    def __init__(self, app: App) -> None:
        self.active = False
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not self.active:
            return self._app(scope, receive, send)

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        return self._app(scope, receive, send_closing)


def run(open_service: Callable[[], AbstractAsyncContextManager[Service]], listeners: Listeners) -> int:
    """Serve until SIGTERM or SIGINT, then drain.

    On the signal the service turns unready and keeps serving for `drain_seconds`, so that load balancers can
    notice; then the listener closes and requests in flight finish. A second signal skips the wait.

    Returns:
        The exit code: 0 after an orderly shutdown, 1 if a port is taken, 2 if the service refuses to start.
    """
    try:
        return uvloop.run(_run(open_service, listeners))
    finally:
        logs.flush()


async def _run(open_service: Callable[[], AbstractAsyncContextManager[Service]], listeners: Listeners) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            hurry.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    code = 0
    try:
        with (
            listen(listeners.host, listeners.port) as public_socket,
            listen(listeners.host, listeners.admin_port) as admin_socket,
        ):
            async with open_service() as service:
                await _serve(service, listeners, public_socket, admin_socket, stop, hurry)
    except* PortTakenError as errors:
        print(errors.exceptions[0], file=sys.stderr)  # noqa: T201 - before anything serves, for the operator
        code = 1
    except* StartRefusedError as refusals:
        log.error("refused to start: %s", _first_of(refusals))  # noqa: TRY400 - the message says it all
        code = 2
    return code


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(
    service: Service,
    listeners: Listeners,
    public_socket: socket.socket,
    admin_socket: socket.socket,
    stop: asyncio.Event,
    hurry: asyncio.Event,
) -> None:
    draining = Draining(service.app)

    def readiness() -> dict[str, bool]:
        return {**service.readiness(), "serving": not draining.active}

    public = http_server(draining, listeners.keepalive_seconds, service.on_rejected)
    admin = http_server(admin_app(readiness, service.registry), listeners.keepalive_seconds)
    async with asyncio.TaskGroup() as group:
        admin_task = group.create_task(admin.serve(sockets=[admin_socket]))
        public_task = group.create_task(public.serve(sockets=[public_socket]))
        background_task = group.create_task(service.background())
        address, admin_address = public_socket.getsockname(), admin_socket.getsockname()
        _spare_the_collector()
        log.info("listening", extra=logs.fields(port=address[1], admin_port=admin_address[1]))
        await stop.wait()
        log.info("draining", extra=logs.fields(seconds=listeners.drain_seconds))
        draining.active = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), listeners.drain_seconds)
        public.should_exit = True
        await public_task
        admin.should_exit = True
        await admin_task
        background_task.cancel()
    log.info("stopped")


def _spare_the_collector() -> None:
    """Start-up objects live for the whole process, and requests create almost no reference cycles: collect rarely."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def http_server(app: App, keepalive_seconds: int, on_rejected: OnRejected = nothing_more) -> StrictServer:
    """The HTTP server both services use; `serve(sockets=[…])` runs it until `should_exit` is set."""
    errors = ProblemResponses(on_rejected)
    return StrictServer(app, errors, keepalive_seconds=keepalive_seconds, graceful_seconds=IN_FLIGHT_SECONDS)


class PortTakenError(Exception):
    """Another process listens on the address, or it is not ours."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one.

    Raises:
        PortTakenError: with a line for the operator.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except OSError as error:
        raise PortTakenError(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}") from None
    # accepted sockets inherit it; without it asyncio leaves Nagle on, and each answer waits 40 ms for an ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
