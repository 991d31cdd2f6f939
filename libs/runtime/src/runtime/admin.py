"""The private port: health for Kubernetes, metrics for Prometheus."""

import json
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from runtime.identifiers import new_uuid
from runtime.problems import ProblemError, render
from strict_http.asgi import App, Receive, Scope, Send, respond

_METHODS = ("GET", "HEAD")

type Readiness = Callable[[], Mapping[str, bool]]
"""Each thing that the service needs before it can serve, and whether it is available."""


def admin_app(readiness: Readiness, registry: CollectorRegistry) -> App:
    """`/healthz/live` is 200 while the event loop runs, `/healthz/ready` 200 or 503, `/metrics` for Prometheus."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["method"] not in _METHODS:
            problem = ProblemError("method_not_allowed", "Only GET and HEAD.", headers=[(b"allow", b"GET, HEAD")])
            await respond(send, *render(problem, new_uuid()))
            return
        match scope["path"]:
            case "/healthz/live":
                await _json(send, 200, {"status": "live"})
            case "/healthz/ready":
                checks = readiness()
                ready = all(checks.values())
                status = "ready" if ready else "unready"
                await _json(send, 200 if ready else 503, {"status": status, "checks": dict(checks)})
            case "/metrics":
                content_type = [(b"content-type", CONTENT_TYPE_LATEST.encode())]
                await respond(send, 200, content_type, generate_latest(registry))
            case _:
                await respond(send, *render(ProblemError("not_found", "No such page."), new_uuid()))

    return app


async def _json(send: Send, status: int, document: object) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await respond(send, status, headers, json.dumps(document).encode())
