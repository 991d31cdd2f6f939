"""Which web pages may read responses (Fetch standard, "CORS protocol")."""

from collections.abc import Collection, Iterable

from gateway import routes
from strict_http.asgi import Headers

_ALLOWED_HEADERS = (
    "Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "DPoP", "traceparent",
    "tracestate", "baggage", "sentry-trace",
)  # fmt: skip
_EXPOSED_HEADERS = (
    b"Accept-Patch, Allow, Content-Disposition, DPoP-Nonce, ETag, Link, Location, RateLimit, RateLimit-Policy, "
    b"Retry-After, WWW-Authenticate, X-Request-Id"
)
_MAX_AGE_SECONDS = b"600"
_VARY = (b"vary", b"Origin")


class Cors:
    """The response headers for the configured origins; none if no origin is configured.

    Pages of these origins may send the request headers of the contract, those of tracing, and `more_headers`.
    """

    def __init__(self, origins: Collection[str], more_headers: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._allowed_headers = ", ".join([*_ALLOWED_HEADERS, *more_headers]).encode()

    def headers(self, request: Headers) -> Headers:
        """For every response to a request with these headers, errors included."""
        if not self._origins:
            return []
        origin = _value(request, b"origin")
        if origin is None or origin not in self._origins:
            return [_VARY]
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED_HEADERS),
            _VARY,
        ]

    def is_preflight(self, method: str, request: Headers) -> bool:
        """Whether this is a preflight of a configured origin: the only request without a token."""
        return (
            method == "OPTIONS"
            and _value(request, b"origin") in self._origins
            and _value(request, b"access-control-request-method") is not None
        )

    def preflight_headers(self) -> Headers:
        """For the response to a preflight, in addition to `headers`."""
        return [
            (b"access-control-allow-methods", ", ".join(sorted(routes.METHODS)).encode()),
            (b"access-control-allow-headers", self._allowed_headers),
            (b"access-control-max-age", _MAX_AGE_SECONDS),
        ]


def _value(headers: Headers, name: bytes) -> bytes | None:
    return next((value for key, value in headers if key == name), None)
