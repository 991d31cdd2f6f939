"""What the head of a request must look like (RFC 9112 sections 3, 6 and 7)."""

import re

from strict_http.asgi import Headers
from strict_http.errors import RejectedError

MAX_TARGET_BYTES = 8 * 1024
MAX_LINE_BYTES = len(b"UNSUBSCRIBE ") + MAX_TARGET_BYTES + len(b" HTTP/1.1\r\n")
"""Of the longest request line, with the longest method that the parser knows."""

MAX_FIELDS = 100
MAX_FIELD_BYTES = 32 * 1024
"""Of all header lines together, their line ends and the empty line included."""

CHUNKED = -1
"""Stands for the length of a chunked body, which is not known ahead."""

_VERSIONS = {b"HTTP/1.1\r\n": "1.1", b"HTTP/1.0\r\n": "1.0"}
_PATH = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/%"
_QUERY = _PATH.replace(b"'", b"") + b"?"
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CHECKED = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_MAX_LENGTH_DIGITS = 18

type RequestLine = tuple[str, bytes, bytes, str]
"""Method, path, query without its question mark, and version (`1.0` or `1.1`)."""


def read_request_line(line: bytes) -> RequestLine:
    """Split a request line, its line end included.

    The target must be in origin form (RFC 9112 section 3.2.1) and hold only characters that RFC 3986 allows in it;
    `'` is not allowed in the query either, because signature libraries normalise it differently.

    Raises:
        RejectedError: `uri_too_long` or `bad_request`.
    """
    if len(line) > MAX_LINE_BYTES:
        raise target_too_long()
    parts = line.split(b" ")
    if len(parts) != 3:  # noqa: PLR2004 - method, target, version
        raise bad_request("The request line is malformed.")
    method, target, end = parts
    if not (method.isalpha() and method.isupper()):
        # the parser checks the method itself, but skips line ends before it
        raise bad_request("The method is malformed.")
    if len(target) > MAX_TARGET_BYTES:
        raise target_too_long()
    version = _VERSIONS.get(end)
    if version is None:
        raise bad_request("The version is not HTTP/1.1 or HTTP/1.0.")
    if not target.startswith(b"/") or method == b"CONNECT":
        raise bad_request("The request target is not in origin form.")
    path, _, query = target.partition(b"?")
    if path.translate(None, _PATH) or query.translate(None, _QUERY):
        raise bad_request("The request target holds a forbidden character.")
    if b"%" in target and _BROKEN_ESCAPE.search(target):
        raise bad_request("The request target holds a broken escape.")
    return method.decode("ascii"), path, query, version


type Framing = tuple[int, bool, bool]
"""What a head says about the bytes after it: the length of the body, or `CHUNKED`; whether another request may
follow; whether the client may wait for 100 (Continue) before it sends the body."""


def read_framing(fields: Headers, version: str) -> Framing:
    """Check the fields that frame a request: only `Connection` may be repeated, and `Host` is required.

    Names are in lower case. HTTP/1.0 needs a `Host` too, and never keeps the connection open.

    Raises:
        RejectedError: `bad_request`.
    """
    checked: dict[bytes, bytes] = {}
    keep_alive = version == "1.1"
    for name, value in fields:
        if name in _CHECKED:
            if name == b"connection":
                keep_alive = keep_alive and not _closes(value)
                continue
            if name in checked:
                raise bad_request(f"{name.decode().title()} came more than once.")
            checked[name] = value
    if b"host" not in checked:
        raise bad_request("Host is missing.")
    if len(checked) == 1:
        return 0, keep_alive, False
    if b"upgrade" in checked:
        raise bad_request("Upgrade is not supported.")
    expectation = checked.get(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue":
        raise bad_request("The expectation is not 100-continue.")
    # RFC 9110 section 10.1.1: an expectation of HTTP/1.0 is ignored
    return _body_length(checked, version), keep_alive, expectation is not None and version == "1.1"


def _closes(connection: bytes) -> bool:
    """Whether `close` is among the options (RFC 9112 section 9.6)."""
    return any(option.strip() == b"close" for option in connection.lower().split(b","))


def _body_length(checked: dict[bytes, bytes], version: str) -> int:
    """RFC 9112 section 6.3, without the forms that it merely tolerates."""
    length = checked.get(b"content-length")
    coding = checked.get(b"transfer-encoding")
    if coding is not None:
        if coding != b"chunked" or length is not None or version != "1.1":
            raise bad_request("Transfer-Encoding is not chunked alone, on HTTP/1.1.")
        return CHUNKED
    if length is None:
        return 0
    if not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        raise bad_request("Content-Length is malformed.")
    return int(length)


def bad_request(detail: str) -> RejectedError:
    return RejectedError("bad_request", detail)


def target_too_long() -> RejectedError:
    return RejectedError("uri_too_long", f"The request target is longer than {MAX_TARGET_BYTES} bytes.")


def fields_too_large() -> RejectedError:
    return RejectedError(
        "request_header_fields_too_large", f"More than {MAX_FIELDS} fields, or {MAX_FIELD_BYTES} bytes of them."
    )
