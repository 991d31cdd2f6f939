"""The outermost layer: every answer is counted, logged and has an id, and no fault tells about itself."""

import logging
import time
from typing import Any

from runtime.asgi import App, Message, Receive, Scope, Send, respond
from runtime.identifiers import new_uuid
from runtime.logs import pseudonym
from runtime.problems import ProblemError, render
from todos.caller import CALLER, REQUEST_ID, ROUTE
from todos.metrics import Metrics

UNROUTED = "unrouted"
"""The route label of what met no route, refused callers included."""
CLIENT_LEFT = 499
"""The status label of a request whose client left before the answer."""

log = logging.getLogger("todos.request")


class Observed:
    """Counts and logs each request; an exception that got here becomes an opaque 500."""

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
            log.exception("unhandled error", extra={"fields": {"request_id": scope[REQUEST_ID]}})
            if status:
                raise
            await respond(send_observed, *render(internal_error(), scope[REQUEST_ID]))
        finally:
            self._tell(scope, status or CLIENT_LEFT, time.perf_counter() - started)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get(ROUTE, UNROUTED)
        self._metrics.observe_request(route=route, method=scope["method"], status=status, seconds=seconds)
        caller = scope.get(CALLER)
        fields: dict[str, Any] = {
            "request_id": scope[REQUEST_ID],
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "user": pseudonym(caller.user_id) if caller else None,
        }
        log.info("request", extra={"fields": fields})


def internal_error() -> ProblemError:
    """Opaque: the log has the rest under the request's id."""
    return ProblemError("internal", "Something went wrong here. The log knows it by this id.")
