"""Which scope a method needs."""

import re
from collections.abc import Mapping

from gateway import routes
from gateway.auth_errors import insufficient_scope
from gateway.token.claims import Bearer

READ, WRITE = "read", "write"
_ENTRY = re.compile(r"(?P<access>read|write)=(?P<scope>[\x21\x23-\x5b\x5d-\x7e]+)")


def parse_scopes(text: str) -> dict[str, str]:
    """Read `read=todos:read,write=todos:write`; a scope-token is as in RFC 6749 section 3.3.

    Raises:
        ValueError: an entry is not of this form, or comes twice.
    """
    scopes: dict[str, str] = {}
    for entry in (part.strip() for part in text.split(",")):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f"{entry!r} is not of the form read=scope or write=scope")
        if match["access"] in scopes:
            raise ValueError(f"{match['access']!r} comes twice")
        scopes[match["access"]] = match["scope"]
    return scopes


def check_scope(required: Mapping[str, str], bearer: Bearer, method: str) -> None:
    """Reject a token without the scope that the method needs.

    Raises:
        AuthenticationError: `insufficient_scope`.
    """
    scope = required.get(WRITE if routes.writes(method) else READ)
    if scope is not None and scope not in bearer.scopes:
        raise insufficient_scope(scope)
