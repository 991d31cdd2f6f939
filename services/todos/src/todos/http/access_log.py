"""Counts and logs every response, assigns the request id, and hides exception details from the client."""

import logging
import time

from runtime.error_responses import REJECTED
from runtime.identifiers import new_uuid
from runtime.logs import RequestLog, fields, pseudonym
from runtime.problems import internal_error, render
from strict_http.asgi import App, Message, Receive, Scope, Send, respond
from todos.http.authentication import CALLER, REQUEST_ID, ROUTE
from todos.metrics import Metrics, label_of

UNROUTED = "unrouted"
"""The route label of requests that matched no route, refused callers included."""
CLIENT_LEFT = 499
"""The status label of a request whose client left before the answer."""

log = logging.getLogger("todos.access")
requests = RequestLog("todos", log)


class AccessLogMiddleware:
    """Counts and logs each request; an unhandled exception becomes an opaque 500."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        scope[REQUEST_ID] = new_uuid()
        status: int | None = None

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        except Exception:
            log.exception("unhandled exception", extra=fields(request_id=scope[REQUEST_ID]))
            if status:
                raise
            await respond(send_observed, *render(internal_error(), scope[REQUEST_ID]))
        finally:
            self._tell(scope, status or scope.get(REJECTED, CLIENT_LEFT), time.perf_counter() - started)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route, method = scope.get(ROUTE, UNROUTED), label_of(scope["method"])
        self._metrics.requests.add(route, method, status)
        self._metrics.duration.observe(seconds, route, method)
        caller = scope.get(CALLER)
        requests.write(
            request_id=scope[REQUEST_ID],
            method=method,
            route=route,
            status=status,
            duration_ms=seconds * 1000,
            user=pseudonym(caller.user_id) if caller else None,
        )
