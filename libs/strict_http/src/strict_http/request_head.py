"""What the head of a request must look like (RFC 9112 sections 3, 6 and 7)."""

import re
from itertools import islice
from typing import NamedTuple

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
_QUERY = _PATH + b"?"
_ABSOLUTE = re.compile(rb"https?://([a-z0-9._-]+(?::[0-9]+)?|\[[0-9a-f:.]+\](?::[0-9]+)?)([/?].*)?", re.IGNORECASE)
"""RFC 9112 section 3.2.2, of the schemes http and https, without user information."""
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CHECKED = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_MAX_LENGTH_DIGITS = 18
_FIELD = re.compile(rb"\n([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)")


class RequestLine(NamedTuple):
    """What a request line says; the version is `1.0` or `1.1`."""

    method: str
    path: bytes
    query: bytes
    """Without its question mark."""
    version: str
    authority: bytes
    """Of a target in absolute form, in lower case; empty in origin form."""


def read_request_line(line: bytes) -> RequestLine:
    """Split a request line, its line end included.

    The target must be in origin form or absolute form (RFC 9112 sections 3.2.1 and 3.2.2) and hold only characters
    that RFC 3986 allows in it. `'` in the query is read as `%27`, because signature libraries normalise it differently.

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
    if method == b"CONNECT":
        raise bad_request("CONNECT is not supported.")
    path, query, authority = _split_target(target)
    return RequestLine(method.decode("ascii"), path, query, version, authority)


def _split_target(target: bytes) -> tuple[bytes, bytes, bytes]:
    authority = b""
    if not target.startswith(b"/"):
        authority, target = _split_absolute_form(target)
    path, _, query = target.partition(b"?")
    if path.translate(None, _PATH) or query.translate(None, _QUERY):
        raise bad_request("The request target holds a forbidden character.")
    if b"%" in target and _BROKEN_ESCAPE.search(target):
        raise bad_request("The request target holds a broken escape.")
    if b"'" in query:
        query = query.replace(b"'", b"%27")
        if len(path) + len(b"?") + len(query) > MAX_TARGET_BYTES:
            raise target_too_long()
    return path, query, authority


def _split_absolute_form(target: bytes) -> tuple[bytes, bytes]:
    parts = _ABSOLUTE.fullmatch(target)
    if parts is None:
        raise bad_request("The request target is neither a path nor an http or https URL.")
    rest = parts[2] or b"/"
    return parts[1].lower(), rest if rest.startswith(b"/") else b"/" + rest


def readable_fields(head: bytes) -> Headers:
    """The first well-formed fields of a head that was rejected, as far as it arrived; names in lower case.

    They are good enough for what the response says, and for nothing else.
    """
    head = head[: MAX_LINE_BYTES + MAX_FIELD_BYTES].partition(b"\r\n\r\n")[0]
    return [(field[1].lower(), field[2].rstrip(b" \t")) for field in islice(_FIELD.finditer(head), MAX_FIELDS)]


type Framing = tuple[int, bool, bool]
"""What a head says about the bytes after it: the length of the body, or `CHUNKED`; whether another request may
follow; whether the client may wait for 100 (Continue) before it sends the body."""


def read_framing(fields: Headers, line: RequestLine) -> Framing:
    """Check the fields that frame a request: only `Connection` and `Upgrade` may be repeated.

    Names are in lower case. HTTP/1.1 requires `Host` (RFC 9112 section 3.2); HTTP/1.0 does not, and never keeps the
    connection open. `Upgrade` is ignored (RFC 9110 section 7.8), unless there is a body: another server could take
    that for the other protocol.

    Raises:
        RejectedError: `bad_request`.
    """
    checked: dict[bytes, bytes] = {}
    keep_alive = line.version == "1.1"
    upgrade = False
    for name, value in fields:
        if name in _CHECKED:
            if name == b"connection":
                keep_alive = keep_alive and not _closes(value)
                continue
            if name == b"upgrade":
                upgrade = True
                continue
            if name in checked:
                raise bad_request(f"{name.decode().title()} came more than once.")
            checked[name] = value
    _check_host(checked.pop(b"host", None), line)
    if not checked:
        return 0, keep_alive, False
    expectation = checked.get(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue":
        raise bad_request("The expectation is not 100-continue.")
    # RFC 9110 section 10.1.1: an expectation of HTTP/1.0 is ignored
    length = _body_length(checked, line.version)
    if upgrade and length != 0:
        raise bad_request("Upgrade is not supported with a body.")
    return length, keep_alive, expectation is not None and line.version == "1.1"


def _check_host(host: bytes | None, line: RequestLine) -> None:
    if host is None and line.version == "1.1":
        raise bad_request("Host is missing.")
    if line.authority and (host is None or host.lower() != line.authority):
        raise bad_request("The authority of the request target is not the Host.")


def _closes(connection: bytes) -> bool:
    """Whether `close` is among the options (RFC 9112 section 9.6)."""
    return any(option.strip() == b"close" for option in connection.lower().split(b","))


def _body_length(checked: dict[bytes, bytes], version: str) -> int:
    """RFC 9112 section 6.3, without the forms that it merely tolerates; codings in any case (section 7)."""
    length = checked.get(b"content-length")
    coding = checked.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or length is not None or version != "1.1":
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
