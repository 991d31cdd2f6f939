"""Verifies the gateway's signature before anything else is read."""

import time
from contextlib import nullcontext
from dataclasses import dataclass

from identity import Identity, IdentityRefusedError, Keyring, verify
from runtime.problems import ProblemError, render
from strict_http.asgi import App, Headers, Message, Receive, Scope, Send, respond
from todos.database.user_session import ReplayedError
from todos.metrics import Metrics
from todos.store.seen_signatures import Signature

MAX_BODY_BYTES = 1024 * 1024
MAX_IMPORT_BYTES = 5 * MAX_BODY_BYTES
MAX_BODIES_BYTES = 128 * MAX_BODY_BYTES
"""Of all requests under way; a body is read only once its user has proven itself and has room."""
MAX_BODIES_BYTES_PER_USER = MAX_BODIES_BYTES // 8
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
        self._bodies = metrics.user_shares("user-buffer", total=MAX_BODIES_BYTES, per_user=MAX_BODIES_BYTES_PER_USER)
        metrics.body_bytes.set_function(lambda: self._bodies.taken)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            identity = self._prove(scope)
            scope[REQUEST_ID] = identity.request_id
            limit = MAX_IMPORT_BYTES if scope["raw_path"] == IMPORT else MAX_BODY_BYTES
            most = _most_bytes(scope["headers"], limit)
            async with self._bodies.held(identity.user_id, most) if most else nullcontext():
                body = await _whole_body(receive, limit)
                if body is not None:
                    scope[CALLER] = self._caller(identity, body)
                    await self._run(scope, receive, send)
        except ProblemError as problem:
            await respond(send, *render(problem, scope[REQUEST_ID]))

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        # routes match the bytes that were signed: an escaped spelling is no second address
        scope["path"] = scope["raw_path"].decode("latin-1")
        try:
            await self._app(scope, receive, send)
        except ReplayedError:
            raise self._refusal("replay") from None

    def _prove(self, scope: Scope) -> Identity:
        try:
            return verify(
                self._keys,
                method=scope["method"],
                path=scope["raw_path"],
                query=scope["query_string"],
                headers=scope["headers"],
                now=time.time(),
            )
        except IdentityRefusedError as refused:
            raise self._refusal(refused.reason) from None

    def _caller(self, identity: Identity, body: bytes) -> Caller:
        try:
            identity.check_body(body, time.time())
        except IdentityRefusedError as refused:
            raise self._refusal(refused.reason) from None
        return Caller(identity.user_id, identity.request_id, body, Signature(identity.proof, identity.expires))

    def _refusal(self, reason: str) -> ProblemError:
        self._metrics.count_identity_refused(reason)
        return ProblemError(
            "unauthenticated",
            "The request does not prove its user.",
            headers=[(b"www-authenticate", b"Bearer")],
        )


def _most_bytes(headers: Headers, limit: int) -> int:
    """How many bytes the body has, or may have where its length is not known ahead.

    Raises:
        ProblemError: `content_too_large`, it has more than `limit`.
    """
    for name, value in headers:
        if name == b"transfer-encoding":
            return limit
        if name == b"content-length":
            if int(value) > limit:
                raise _too_large(limit)
            return int(value)
    return 0


def _too_large(limit: int) -> ProblemError:
    return ProblemError("content_too_large", f"The body is larger than {limit} bytes.", headers=[_CLOSE])


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
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
