"""Step 1: checks on path and headers, before anything else is read."""

import re
from typing import NamedTuple

from runtime.problems import ProblemError
from strict_http.asgi import Headers

_HOST = re.compile(rb"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~-]+)+")
"""Nearly every path; nothing in it can be read in two ways."""
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})?")
_FORBIDDEN_ENCODED = frozenset(b"/\\\x00%")


class DecisiveHeaders(NamedTuple):
    """The headers that the gateway itself acts on."""

    host: bytes
    authorization: bytes | None
    content_length: int | None
    """Of the body; None if it is not known ahead (`Transfer-Encoding`), 0 without a body."""


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


def check_headers(headers: Headers) -> DecisiveHeaders:
    """Pick and check `DecisiveHeaders` in one pass; names are in lower case.

    A name with `_` or `.` is rejected: another server before or after this one may read it as a hyphen.

    Raises:
        ProblemError: `bad_request`, or `invalid_authorization` for a repeated `Authorization`.
    """
    host = authorization = None
    content_length: int | None = 0
    for name, value in headers:
        if b"_" in name or b"." in name:
            raise _unsafe("header name")
        if name == b"authorization":
            if authorization is not None:
                raise ProblemError("invalid_authorization", "Authorization came more than once.")
            authorization = value
        elif name == b"host":
            if host is not None or not _HOST.fullmatch(value):
                raise _unsafe("Host")
            host = value
        elif name == b"content-length":
            content_length = int(value)
        elif name == b"transfer-encoding":
            content_length = None
    if host is None:
        raise _unsafe("Host")
    return DecisiveHeaders(host, authorization, content_length)


def _unsafe(what: str) -> ProblemError:
    return ProblemError("bad_request", f"The {what} is missing or unsafe.")
