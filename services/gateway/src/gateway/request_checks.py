"""Step 1: checks on path and headers, before anything else is read."""

import re
from typing import NamedTuple

from runtime.problems import ProblemError
from strict_http.asgi import Headers

_LABEL = rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(rb"(?:%b(?:\.%b)*\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?" % (_LABEL, _LABEL))
_MAX_HOST_BYTES = 253
"""Of a name, as DNS has it (RFC 1035 section 2.3.4), the dot at its end and a port included."""
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~-]+)+")
"""Nearly every path; nothing in it can be read in two ways."""
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})?")
_FORBIDDEN_ENCODED = frozenset(b"/\\\x00%")
_AS_HYPHEN = bytes.maketrans(b"_.", b"--")
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_CLOSE = (b"connection", b"close")
_NO_CODING = frozenset({b"identity", b""})


class CheckedHeaders(NamedTuple):
    """The headers without ambiguous names, and those that the gateway itself acts on."""

    headers: Headers
    host: bytes | None
    """None if there is none, as HTTP/1.0 allows."""
    authorization: bytes | None
    content_length: int | None
    """Of the body; None if it is not known ahead (`Transfer-Encoding`), 0 without a body."""
    encoded: bool
    """Whether `Content-Encoding` names another coding than `identity`."""


def check_path(path: bytes) -> None:
    """Reject a path that two servers could read differently (RFC 3986 sections 3.3 and 6.2.2).

    A dot segment, an empty segment, a backslash, and an encoded slash, backslash, NUL or percent sign, in any
    spelling. A path that passes is forwarded byte for byte.

    Raises:
        ProblemError: `bad_request`.
    """
    if _PLAIN.fullmatch(path):
        return
    if not path.startswith(b"/") or b"//" in path or b"\\" in path:
        raise _unsafe("path")
    if b"%" in path:
        for escape in _ENCODED.finditer(path):
            if escape[1] is None or int(escape[1], 16) in _FORBIDDEN_ENCODED:
                raise _unsafe("path")
        path = path.replace(b"%2e", b".").replace(b"%2E", b".")
    if b"/." in path and any(segment in (b".", b"..") for segment in path.split(b"/")):
        raise _unsafe("path")


def check_headers(headers: Headers) -> CheckedHeaders:
    """Pick and check `CheckedHeaders`; names are in lower case.

    A header whose name has `_` or `.` is dropped: another server before or after this one may read it as a hyphen
    (RFC 3875 section 4.1.18). If it would then frame the request, the request is rejected and the connection closes:
    what follows may be the body that the header announces.

    Raises:
        ProblemError: `bad_request`, or `invalid_authorization` for a repeated `Authorization`.
    """
    host = authorization = None
    content_length: int | None = 0
    encoded = False
    headers = _without_ambiguous_names(headers)
    for name, value in headers:
        if name == b"authorization":
            if authorization is not None:
                raise ProblemError("invalid_authorization", "Authorization came more than once.")
            authorization = value
        elif name == b"host":
            if host is not None or len(value) > _MAX_HOST_BYTES or not _HOST.fullmatch(value):
                raise _unsafe("Host")
            host = value
        elif name == b"content-length":
            content_length = int(value)
        elif name == b"transfer-encoding":
            content_length = None
        elif name == b"content-encoding":
            encoded = encoded or not _NO_CODING.issuperset(map(bytes.strip, value.lower().split(b",")))
    return CheckedHeaders(headers, host, authorization, content_length, encoded)


def _without_ambiguous_names(headers: Headers) -> Headers:
    ambiguous = {name for name, _ in headers if b"_" in name or b"." in name}
    if not ambiguous:
        return headers
    if not _FRAMING.isdisjoint(name.translate(_AS_HYPHEN) for name in ambiguous):
        raise _unsafe("header name", _CLOSE)
    return [field for field in headers if field[0] not in ambiguous]


def check_content_coding(checked: CheckedHeaders) -> None:
    """Refuse a body in a coding: nothing here decodes it (RFC 9110 sections 8.4 and 12.5.3).

    Raises:
        ProblemError: `unsupported_media_type`.
    """
    if checked.encoded and checked.content_length != 0:
        detail = "Bodies with a Content-Encoding are not supported; send the body without one."
        raise ProblemError("unsupported_media_type", detail, headers=[(b"accept-encoding", b"identity")])


def authority_of(server: tuple[str, int]) -> bytes:
    """The address of a listener as an authority (RFC 3986 section 3.2)."""
    host, port = server
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()


def _unsafe(what: str, *headers: tuple[bytes, bytes]) -> ProblemError:
    return ProblemError("bad_request", f"The {what} is malformed or unsafe.", headers=headers)
