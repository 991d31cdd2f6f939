"""The steps of a request: checks, token, limits, forward."""

import asyncio
import logging
import time
from collections.abc import Mapping

from gateway import request_checks, routes
from gateway.auth_errors import AuthenticationError, explained
from gateway.cors import Cors
from gateway.forward.body import BodyBuffers
from gateway.forward.client_disconnect import ClientDisconnectedError, DisconnectWatchers
from gateway.forward.client_waits import ClientIdleError
from gateway.forward.forwarder import Forwarder, Outgoing
from gateway.forward.headers import for_client, for_upstream
from gateway.forward.upstream_response import UpstreamResponse
from gateway.limits.limiter import Limiter
from gateway.metrics import Metrics
from gateway.proxies import UNKNOWN, Client, TrustedProxies
from gateway.token.bearer import read_token
from gateway.token.claims import Bearer
from gateway.token.scopes import check_scope
from gateway.token.verifier import TokenVerifier
from gateway.upstream_errors import UpstreamError
from runtime.error_responses import REJECTED
from runtime.identifiers import new_uuid
from runtime.logs import RequestLog, fields
from runtime.problems import ProblemError, internal_error, render
from strict_http.asgi import Headers, Receive, Scope, Send, respond

CLIENT_DISCONNECTED = 499
"""Logged, never sent: the client disconnected before its response began."""

log = logging.getLogger("gateway.access")
requests = RequestLog("gateway", log)


class Gateway:
    """The public application (ASGI 3)."""

    def __init__(
        self,
        proxies: TrustedProxies,
        cors: Cors,
        tokens: TokenVerifier,
        required_scopes: Mapping[str, str],
        limiter: Limiter,
        bodies: BodyBuffers,
        forwarder: Forwarder,
        metrics: Metrics,
        *,
        explain_refusals: bool,
    ) -> None:
        self._proxies = proxies
        self._cors = cors
        self._tokens = tokens
        self._required_scopes = required_scopes
        self._limiter = limiter
        self._bodies = bodies
        self._forwarder = forwarder
        self._metrics = metrics
        self._explain_refusals = explain_refusals
        self._watchers = DisconnectWatchers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(scope, receive, send)
        request.cors_headers = self._cors.headers(request.headers)
        try:
            await self._pass_on(request)
        except ProblemError as problem:
            await request.refuse(problem)
        except (ClientDisconnectedError, ClientIdleError, UpstreamError):
            # ClientDisconnectedError: nobody to answer
            # the others here: the response broke off; it stays incomplete, so that the client notices
            pass
        except Exception:
            log.exception("unhandled exception", extra=fields(request_id=request.id))
            await request.refuse(internal_error())
        finally:
            self._record(request)

    def on_rejected(self, status: int, fields: Headers, scope: Scope | None) -> Headers:
        """Count a request that the parser rejected before it came here; returns the CORS headers of the response."""
        if scope is None:
            self._metrics.requests.add(routes.OTHER, routes.OTHER, status)
        return self._cors.headers(fields)

    async def _pass_on(self, request: "_Request") -> None:
        request_checks.check_path(request.path)
        checked = request_checks.check_headers(request.headers)
        request.headers = checked.headers
        request.client = self._proxies.client(request.client.address, request.client.scheme, request.headers)
        if self._cors.is_preflight(request.method, request.headers):
            await request.allow(self._cors.preflight_headers())
            return
        bearer = await self._authenticate(checked.authorization, request)
        request.limit_headers = await self._limiter.admit(bearer, write=routes.writes(request.method))
        request_checks.check_content_coding(checked)
        body = await self._bodies.read(
            request.user_id, request.receive, checked.content_length, times=routes.body_times(request.path)
        )
        try:
            await self._forward(request, checked.host or request_checks.authority_of(request.server), body)
        finally:
            self._bodies.release(request.user_id, body)

    async def _authenticate(self, authorization: bytes | None, request: "_Request") -> Bearer:
        try:
            bearer = await self._tokens.verify(read_token(authorization))
            request.user_id, request.user = bearer.user_id, bearer.pseudonym
            check_scope(self._required_scopes, bearer, request.method)
        except AuthenticationError as failure:
            if failure.counted:
                request.limit_headers = await self._limiter.count_auth_failure(request.client.limited_address)
            raise (explained(failure) if self._explain_refusals else failure) from None
        return bearer

    async def _forward(self, request: "_Request", host: bytes, body: bytes) -> None:
        outgoing = Outgoing(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=for_upstream(request.headers),
            body=body,
            user_id=request.user_id,
            request_id=request.id,
            host=host,
            client=request.client,
        )
        watcher = self._watchers.watch(request.receive)
        started = time.perf_counter()
        try:
            await self._forwarder.enter(request.user_id)
            try:
                await self._exchange(request, outgoing)
            finally:
                self._forwarder.leave(request.user_id)
        except asyncio.CancelledError:
            watcher.raise_if_disconnected()
            raise
        finally:
            request.exchange_seconds = time.perf_counter() - started
            watcher.stop()

    async def _exchange(self, request: "_Request", outgoing: Outgoing) -> None:
        started = time.perf_counter()
        try:
            response = await self._forwarder.send(outgoing)
        finally:
            request.upstream_seconds = time.perf_counter() - started
        await request.answer(response, self._forwarder)

    def _record(self, request: "_Request") -> None:
        seconds = time.perf_counter() - request.started
        status = request.status
        if status == CLIENT_DISCONNECTED:
            status = request.scope.get(REJECTED, CLIENT_DISCONNECTED)
        route, method = routes.template_of(request.path), routes.label_of(request.method)
        metrics = self._metrics
        metrics.requests.add(route, method, status)
        metrics.duration.observe(seconds, route)
        metrics.overhead.observe(max(0.0, seconds - request.exchange_seconds))
        if request.upstream_seconds:
            metrics.upstream_duration.observe(request.upstream_seconds)
        if request.failure:
            metrics.auth_failures.labels(request.failure).inc()
        requests.write(
            request_id=request.id,
            method=method,
            route=route,
            status=status,
            duration_ms=seconds * 1000,
            upstream_ms=request.upstream_seconds * 1000 if request.upstream_seconds else None,
            user=request.user or None,
            auth_failure=request.failure or None,
        )


class _Request:
    """One request, and what is known of it so far."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self.id = new_uuid()
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.query: bytes = scope["query_string"]
        self.headers: Headers = scope["headers"]
        self.client = Client(scope["client"][0] if scope.get("client") else UNKNOWN, scope["scheme"])
        self.server: tuple[str, int] = scope["server"]
        self.receive = receive
        self.user_id = ""
        self.user = ""
        self.failure = ""
        self.limit_headers: Headers = []
        self.cors_headers: Headers = []
        self.upstream_seconds = 0.0
        self.exchange_seconds = 0.0
        self.status = CLIENT_DISCONNECTED
        self._send = send

    async def answer(self, response: UpstreamResponse, forwarder: Forwarder) -> None:
        """Stream the upstream's response.

        Raises:
            ClientIdleError: the client does not read while others lack the place.
            UpstreamError: the response broke off.
        """
        try:
            headers = [
                *for_client(response.headers),
                (b"x-request-id", self.id.encode()),
                *self.limit_headers,
                *self.cors_headers,
            ]
            self.status = response.status
            await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
            body, last = await response.read()
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})
            while not last:
                body, last = await response.read()
                async with forwarder.wait_for_client(self.user_id):
                    await self._send({"type": "http.response.body", "body": body, "more_body": not last})
        finally:
            response.abandon()

    async def allow(self, headers: Headers) -> None:
        """Answer a preflight."""
        self.status = 204
        await respond(self._send, 204, [*headers, *self.cors_headers, (b"x-request-id", self.id.encode())])

    async def refuse(self, problem: ProblemError) -> None:
        """Answer with a problem, unless a response has begun."""
        if self.status != CLIENT_DISCONNECTED:
            return
        if isinstance(problem, AuthenticationError):
            self.failure = problem.reason
        self.status, headers, body = render(problem, self.id)
        given = {name for name, _ in headers}
        headers += [field for field in self.limit_headers if field[0] not in given]
        headers += self.cors_headers
        await respond(self._send, self.status, headers, body)
