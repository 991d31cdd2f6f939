"""Parses the `Authorization` header and a JWT; nothing of it is verified yet."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from gateway.auth_errors import invalid_token, missing_token, not_bearer
from runtime import strict_json

_BEARER = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
_FORBIDDEN_HEADERS = frozenset({"crit", "b64", "zip"})


@dataclass(frozen=True, slots=True)
class Parts:
    """A JWT in the compact form (RFC 7515 section 7.1), decoded but not verified."""

    algorithm: str
    kid: str | None
    type: str | None
    """As `token_type` writes it; None where the header has no `typ`."""
    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def read_token(authorization: bytes | None) -> bytes:
    """The token68 of `Bearer <token68>` (RFC 6750 section 2.1).

    Raises:
        AuthenticationError: `unauthenticated` without the header or with another scheme,
            `invalid_authorization` where the rest is no token68.
    """
    if authorization is None or authorization.split(b" ", 1)[0].lower() != b"bearer":
        raise missing_token()
    match = _BEARER.fullmatch(authorization)
    if match is None:
        raise not_bearer()
    return match[1]


def token_type(typ: str) -> str:
    """`typ` in one spelling: lower case, and without `application/` (RFC 7515 section 4.1.9)."""
    return typ.lower().removeprefix("application/")


def parse(token: bytes) -> Parts:
    """Parse a JWT strictly (RFC 7515, RFC 7519, RFC 8725).

    Three parts in canonical unpadded base64url, header and claims JSON objects without a repeated member, and no
    header that would change how the token is read. Headers that say where the key is are ignored. A `kid` or `typ` that
    is null counts as absent.

    Raises:
        AuthenticationError: `invalid_token`, reason `malformed`.
    """
    segments = token.split(b".")
    if len(segments) != 3:  # noqa: PLR2004 - header, claims, signature
        raise invalid_token("malformed")
    header = _json_object(_decode(segments[0]))
    algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if (
        not isinstance(algorithm, str)
        or not isinstance(kid, str | None)
        or not isinstance(typ, str | None)
        or not _FORBIDDEN_HEADERS.isdisjoint(header)
    ):
        raise invalid_token("malformed")
    return Parts(
        algorithm=algorithm,
        kid=kid,
        type=None if typ is None else token_type(typ),
        header=header,
        claims=_json_object(_decode(segments[1])),
        signing_input=token[: len(token) - len(segments[2]) - 1],
        signature=_decode(segments[2]),
    )


def _decode(segment: bytes) -> bytes:
    try:
        decoded = base64.b64decode(segment + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise invalid_token("malformed") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment:
        raise invalid_token("malformed")
    return decoded


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        document = strict_json.parse(text)
    except ValueError:
        raise invalid_token("malformed") from None
    if not isinstance(document, dict):
        raise invalid_token("malformed")
    return document
