"""Why a request was not authenticated: in detail for logs and metrics, in part for the client."""

from collections.abc import Sequence
from typing import Literal

from runtime.problems import Code, ProblemError, retry_after
from strict_http.asgi import Headers

Reason = Literal[
    "missing",
    "malformed",
    "algorithm",
    "unknown_key",
    "signature",
    "issuer",
    "audience",
    "expired",
    "not_yet_valid",
    "claims",
    "bound",
    "too_large",
    "scope",
    "revoked",
    "keys_unavailable",
    "rate_limited",
]

_CHALLENGE = (b"www-authenticate", b"Bearer")
_INVALID_TOKEN = (b"www-authenticate", b'Bearer error="invalid_token"')
KEYS_RETRY_SECONDS = 5

_EXPLANATIONS: dict[Reason, str] = {
    "issuer": "iss is no issuer that is trusted here",
    "algorithm": "alg is not accepted from this issuer, or not the one of the key",
    "audience": "the token is for another audience",
    "expired": "exp is in the past",
    "not_yet_valid": "nbf or iat is in the future",
    "claims": "a claim is missing, or its value is not accepted",
}
"""The reasons that a client may know: the first two are found before the signature is verified, and are about what
every token shows; the others only after it, so that nobody can try claims without a token of the issuer."""

_HONEST: frozenset[Reason] = frozenset({"expired", "too_large"})
"""Faults of honest clients' tokens: they never count against an address."""


class AuthenticationError(ProblemError):
    """The request is not authenticated.

    Attributes:
        reason: for operators; for clients as `explained` says.
        counted: whether the failure counts against the client's address.
    """

    def __init__(
        self,
        reason: Reason,
        code: Code,
        detail: str,
        headers: Headers,
        *,
        counted: bool = False,
        violated_policies: Sequence[str] = (),
    ) -> None:
        super().__init__(code, detail, headers=headers, violated_policies=violated_policies)
        self.reason: Reason = reason
        self.counted = counted


def too_many_failures(headers: Headers, violated_policies: Sequence[str]) -> AuthenticationError:
    detail = "Too many failed authentications."
    return AuthenticationError("rate_limited", "rate_limited", detail, headers, violated_policies=violated_policies)


def missing_token() -> AuthenticationError:
    """RFC 6750 section 3.1: without authentication information the challenge names no error."""
    return AuthenticationError("missing", "unauthenticated", "A bearer token is needed.", [_CHALLENGE])


def not_bearer() -> AuthenticationError:
    return AuthenticationError("malformed", "invalid_authorization", "Authorization is not `Bearer <token>`.", [])


def invalid_token(reason: Reason) -> AuthenticationError:
    counted = reason not in _HONEST
    return AuthenticationError(reason, "invalid_token", "The token is not accepted.", [_INVALID_TOKEN], counted=counted)


def explained(error: AuthenticationError) -> AuthenticationError:
    """The same error, which names the rule that the token broke where that tells an attacker nothing new.

    It says nothing that differs between settings or between tokens. The challenge has it as `error_description`
    (RFC 6750 section 3).
    """
    explanation = _EXPLANATIONS.get(error.reason)
    if explanation is None:
        return error
    description = f"{error.reason}: {explanation}"
    challenge = (b"www-authenticate", f'Bearer error="invalid_token", error_description="{description}"'.encode())
    detail = f"The token is not accepted: {description}."
    return AuthenticationError(error.reason, error.code, detail, [challenge], counted=error.counted)


def insufficient_scope(scope: str) -> AuthenticationError:
    """RFC 6750 section 3.1: the token is good, and does not carry `scope`."""
    challenge = (b"www-authenticate", f'Bearer error="insufficient_scope", scope="{scope}"'.encode())
    return AuthenticationError("scope", "insufficient_scope", f"The token lacks the scope {scope}.", [challenge])


def revoked() -> AuthenticationError:
    return AuthenticationError("revoked", "revoked", "The token was revoked.", [_INVALID_TOKEN])


def keys_unavailable() -> AuthenticationError:
    """The provider's keys cannot be fetched: our fault, never the client's."""
    return _keys_unavailable("keys_unavailable", counted=False)


def not_fetched_yet() -> AuthenticationError:
    """No fetch began since the key id first came: it may be new as well as invented."""
    return _keys_unavailable("unknown_key", counted=True)


def _keys_unavailable(reason: Reason, *, counted: bool) -> AuthenticationError:
    detail = "The keys that verify tokens cannot be had at the moment."
    return AuthenticationError(reason, "keys_unavailable", detail, [retry_after(KEYS_RETRY_SECONDS)], counted=counted)
