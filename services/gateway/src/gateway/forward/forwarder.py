"""Signs requests, sends them to the private service, and retries once."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.forward.client_shares import ClientShares
from gateway.forward.upstream import Upstream
from gateway.forward.upstream_response import UpstreamResponse
from gateway.metrics import Metrics
from gateway.proxies import Client
from gateway.upstream_errors import Reason, UpstreamError
from identity import Keyring, sign
from runtime.problems import Code, ProblemError
from strict_http.asgi import Headers
from strict_http.request_head import MAX_FIELD_BYTES, MAX_FIELDS, fields_too_large

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_PROBLEMS: dict[Reason, tuple[Code, str]] = {
    "timeout": ("upstream_timeout", "The todo service did not answer in time."),
    "connect": ("upstream_failed", "The todo service cannot be reached."),
    "broken": ("upstream_failed", "The todo service broke the connection."),
    "garbage": ("upstream_failed", "The todo service did not answer in HTTP."),
}


class Outgoing(NamedTuple):
    """One request to forward: the client's own bytes, and what the gateway found out."""

    method: str
    path: bytes
    query: bytes
    headers: Headers
    body: bytes
    user_id: str
    request_id: str
    host: bytes
    client: Client


class Forwarder:
    """Signs and sends; each user has its share of the places at the upstream."""

    def __init__(
        self,
        upstream: Upstream,
        keys: Keyring,
        *,
        authority: str,
        public_url: str | None,
        places: ClientShares,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._keys = keys
        self._authority = authority.encode()
        self._public = _public_lines(public_url) if public_url else None
        self._places = places
        self._metrics = metrics
        self._clock = clock

    async def enter(self, user_id: str) -> None:
        """Take one of the places upstream, to be given back with `leave`.

        Raises:
            ProblemError: what `ClientShares.take` raises.
        """
        await self._places.take(user_id, 1)

    def leave(self, user_id: str) -> None:
        self._places.give_back(user_id, 1)

    def wait_for_client(self, user_id: str) -> AbstractAsyncContextManager[None]:
        """Surrounds what waits for a client while it holds a place; see `ClientShares.wait_for_client`."""
        return self._places.wait_for_client(user_id)

    async def send(self, outgoing: Outgoing) -> UpstreamResponse:
        """Send the request and wait for the first byte of the response's body, or for its end.

        A request that failed is signed and sent once more if that cannot do anything twice: a GET or HEAD without the
        start of a response, or any request of which no byte was written.

        Raises:
            ProblemError: `upstream_failed`, `upstream_timeout`, or `identity_refused` where the private
                service rejects our signature; `request_header_fields_too_large`.
        """
        bodiless = outgoing.method == "HEAD"
        try:
            response = await self._upstream.send(self._render(outgoing), bodiless=bodiless)
        except UpstreamError as error:
            response = await self._send_once_more(outgoing, error, bodiless=bodiless)
        if response.status == 401:  # noqa: PLR2004
            response.abandon()
            self._metrics.upstream_failures.labels("identity_refused").inc()
            raise ProblemError("identity_refused", "The todo service did not accept the gateway's signature.")
        return response

    async def _send_once_more(self, outgoing: Outgoing, error: UpstreamError, *, bodiless: bool) -> UpstreamResponse:
        harmless = not error.written or (outgoing.method in _SAFE_METHODS and not error.answered)
        if error.reason != "timeout" and harmless:
            self._metrics.upstream_retries.inc()
            try:
                return await self._upstream.send(self._render(outgoing), bodiless=bodiless, fresh=True)
            except UpstreamError as second:
                error = second
        self._metrics.upstream_failures.labels(error.reason).inc()
        code, detail = _PROBLEMS[error.reason]
        raise ProblemError(code, detail)

    def _render(self, outgoing: Outgoing) -> bytes:
        body = outgoing.body
        target = b"%b?%b" % (outgoing.path, outgoing.query) if outgoing.query else outgoing.path
        headers = [
            *outgoing.headers,
            *sign(
                self._keys,
                method=outgoing.method,
                path=outgoing.path,
                query=outgoing.query,
                user_id=outgoing.user_id.encode(),
                request_id=outgoing.request_id.encode(),
                body=body,
                now=int(self._clock()),
            ),
        ]
        if body or outgoing.method in _BODY_METHODS:
            headers.append((b"content-length", b"%d" % len(body)))
        lines = b"host: %b\r\n%b%b\r\n" % (
            self._authority,
            self._forwarded(outgoing),
            b"".join([b"%b: %b\r\n" % field for field in headers]),
        )
        # checked here, with the added headers: a rejection by the private service would carry another request id
        if lines.count(b"\n") - 1 > MAX_FIELDS or len(lines) > MAX_FIELD_BYTES:
            too_large = fields_too_large()
            raise ProblemError(too_large.code, too_large.detail)
        return b"%b %b HTTP/1.1\r\n%b%b" % (outgoing.method.encode(), target, lines, body)

    def _forwarded(self, outgoing: Outgoing) -> bytes:
        address = outgoing.client.address.encode()
        if self._public is not None:
            return b"x-forwarded-for: %b\r\n%b" % (address, self._public)
        return b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\n" % (
            address,
            outgoing.client.scheme.encode(),
            outgoing.host,
        )


def _public_lines(url: str) -> bytes:
    parts = urlsplit(url)
    fields = {"proto": parts.scheme, "host": parts.netloc, "prefix": parts.path.rstrip("/")}
    return "".join(f"x-forwarded-{name}: {value}\r\n" for name, value in fields.items() if value).encode()
