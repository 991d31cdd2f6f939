"""Which headers pass the gateway, in either direction."""

from identity import message
from strict_http.asgi import Headers

_PASSED_PREFIXES = (b"accept", b"content-", b"if-")
_PASSED = frozenset({b"idempotency-key", b"user-agent", b"traceparent", b"tracestate"})
_WRITTEN_NEW = message.HEADERS | {b"content-length"}
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OURS = frozenset({b"x-request-id", b"date", b"server", b"ratelimit", b"ratelimit-policy"})
_NOT_ANSWERED = _HOP_BY_HOP | _OURS


def for_upstream(headers: Headers) -> Headers:
    """The client's headers that the private service may see; names are in lower case.

    A header that `Connection` names is for this hop alone (RFC 9110 section 7.6.1). Identity, digest and
    length are written new.
    """
    nominated: set[bytes] = set()
    passed: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name == b"connection":
            nominated |= _tokens(value)
        elif (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and name not in _WRITTEN_NEW:
            passed.append((name, value))
    return [field for field in passed if field[0] not in nominated] if nominated else passed


def for_client(headers: Headers) -> Headers:
    """The private service's headers that the client may see: all but those of the hop and those we write."""
    dropped = _NOT_ANSWERED
    for name, value in headers:
        if name == b"connection":
            dropped |= _tokens(value)
    return [field for field in headers if field[0] not in dropped]


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}
