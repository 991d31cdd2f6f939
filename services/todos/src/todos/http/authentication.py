"""Verifies the gateway's signature before anything else is read."""

import time
from dataclasses import dataclass

from identity import Identity, IdentityRefusedError, Keyring, verify
from runtime.problems import ProblemError, render
from strict_http.asgi import App, Message, Receive, Scope, Send, respond
from todos.database.user_session import ReplayedError
from todos.metrics import Metrics
from todos.store.seen_signatures import Signature

MAX_BODY_BYTES = 1024 * 1024
MAX_IMPORT_BYTES = 5 * MAX_BODY_BYTES
IMPORT = b"/v1/import"
REQUEST_ID = "todos.request_id"
"""The key of the request's id in the ASGI scope: ours until the caller is authenticated, then the gateway's."""
CALLER = "todos.http.authentication"
ROUTE = "todos.route"
"""The key of the route's template, where there is one."""

_CLOSE = (b"connection", b"close")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user with the body that the signature covers."""

    user_id: str
    request_id: str
    body: bytes
    signature: Signature


class AuthenticationMiddleware:
    """Passes on requests that the gateway has signed, with the `Caller` in the scope, and answers 401 to all others."""

    def __init__(self, app: App, keys: Keyring, metrics: Metrics) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _whole_body(receive, MAX_IMPORT_BYTES if scope["raw_path"] == IMPORT else MAX_BODY_BYTES)
            if body is None:
                return
            identity = self._prove(scope, body)
        except ProblemError as problem:
            await respond(send, *render(problem, scope[REQUEST_ID]))
            return
        scope[REQUEST_ID] = identity.request_id
        signature = Signature(identity.proof, identity.expires)
        scope[CALLER] = Caller(identity.user_id, identity.request_id, body, signature)
        # routes match the bytes that were signed: an escaped spelling is no second address
        scope["path"] = scope["raw_path"].decode("latin-1")
        try:
            await self._app(scope, receive, send)
        except ReplayedError:
            await respond(send, *render(self._refusal("replay"), scope[REQUEST_ID]))

    def _prove(self, scope: Scope, body: bytes) -> Identity:
        try:
            identity = verify(
                self._keys,
                method=scope["method"],
                path=scope["raw_path"],
                query=scope["query_string"],
                headers=scope["headers"],
                body=body,
                now=time.time(),
            )
        except IdentityRefusedError as refused:
            raise self._refusal(refused.reason) from None
        return identity

    def _refusal(self, reason: str) -> ProblemError:
        self._metrics.count_identity_refused(reason)
        return ProblemError(
            "unauthenticated",
            "The request does not prove its user.",
            headers=[(b"www-authenticate", b"Bearer")],
        )


async def _whole_body(receive: Receive, limit: int) -> bytes | None:
    """The body, or None where the client left before its end."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise ProblemError("content_too_large", f"The body is larger than {limit} bytes.", headers=[_CLOSE])
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
