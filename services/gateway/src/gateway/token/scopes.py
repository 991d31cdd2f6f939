"""Which scope a method needs."""

import re
from collections.abc import Mapping

from gateway import routes
from gateway.auth_errors import insufficient_scope
from gateway.token.claims import Bearer

READ, WRITE = "read", "write"
_ENTRY = re.compile(r"(?P<access>read|write)=(?P<scope>[\x21\x23-\x5b\x5d-\x7e]+)")


def parse_scope(text: str) -> tuple[str, str]:
    """Read `read=todos:read` or `write=…`; a scope-token is as in RFC 6749 section 3.3.

    Raises:
        ValueError: it is not of this form.
    """
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError("is not of the form read=scope or write=scope")
    return match["access"], match["scope"]


def check_scope(required: Mapping[str, str], bearer: Bearer, method: str) -> None:
    """Reject a token without the scope that the method needs.

    Raises:
        AuthenticationError: `insufficient_scope`.
    """
    scope = required.get(WRITE if routes.writes(method) else READ)
    if scope is not None and scope not in bearer.scopes:
        raise insufficient_scope(scope)
