"""Checks the claims of a token."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gateway.auth_errors import invalid_token
from runtime.logs import pseudonym

LEEWAY_SECONDS = 10
MAX_USER_ID_LENGTH = 255
_USER_ID = re.compile(r"[\x21-\x7e]+")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LAST_SECOND = 253402300799
"""The end of the year 9999."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for one issuer's tokens; `max_lifetime` in seconds, `user_prefix` before every user id."""

    issuer: str
    audiences: frozenset[str]
    user_claim: str
    max_lifetime: int
    user_prefix: str = ""


@dataclass(frozen=True)
class Bearer:
    """The user of a token, and the claims that later steps need; times are Unix seconds."""

    user_id: str
    expires: float
    issued: float | None = None
    token_id: str | None = None
    scopes: frozenset[str] = frozenset()
    memo: dict[tuple[str, ...], bytes] = field(default_factory=dict, compare=False, repr=False)
    """What later steps derive from the claims, kept for as long as the token is remembered."""

    @cached_property
    def pseudonym(self) -> str:
        """The user in logs."""
        return pseudonym(self.user_id)


def check(claims: Mapping[str, object], rules: Rules, now: float) -> Bearer:
    """Check the claims (RFC 7519 section 4.1) at `now`, in Unix seconds, with 10 s of leeway.

    `iss`, the user claim (visible ASCII, at most 255 characters with the prefix) and `exp` are required.
    `aud` must name one of ours; only where it is absent an allowed `azp` stands in for it. `exp` lies at most
    `max_lifetime` after `iat`, or after `now` where there is no `iat`.

    Raises:
        AuthenticationError: `invalid_token` with the reason of the first rule that is broken.
    """
    if claims.get("iss") != rules.issuer:
        raise invalid_token("issuer")
    if not _audience_fits(claims, rules.audiences):
        raise invalid_token("audience")
    user_id = _user_id(claims, rules)
    expires, issued, not_before = (_instant(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise invalid_token("claims")
    if expires + LEEWAY_SECONDS <= now:
        raise invalid_token("expired")
    if any(start is not None and start - LEEWAY_SECONDS > now for start in (not_before, issued)):
        raise invalid_token("not_yet_valid")
    if expires - (now if issued is None else issued) > rules.max_lifetime:
        raise invalid_token("claims")
    return Bearer(user_id, expires, issued, _token_id(claims), _scopes(claims))


def _audience_fits(claims: Mapping[str, object], audiences: frozenset[str]) -> bool:
    if "aud" not in claims:
        return claims.get("azp") in audiences if isinstance(claims.get("azp"), str) else False
    given = claims["aud"]
    named = given if isinstance(given, list) else [given]
    return all(isinstance(name, str) for name in named) and not audiences.isdisjoint(named)


def _user_id(claims: Mapping[str, object], rules: Rules) -> str:
    value = claims.get(rules.user_claim)
    if not isinstance(value, str) or not _USER_ID.fullmatch(value):
        raise invalid_token("claims")
    user_id = rules.user_prefix + value
    if len(user_id) > MAX_USER_ID_LENGTH:
        raise invalid_token("claims")
    return user_id


def _instant(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2), of which none lies before 1970 or past the year 9999."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise invalid_token("claims")
    return float(value)


def _token_id(claims: Mapping[str, object]) -> str | None:
    if "jti" not in claims:
        return None
    token_id = claims["jti"]
    if not isinstance(token_id, str) or _LONE_SURROGATE.search(token_id):
        raise invalid_token("claims")
    return token_id


def _scopes(claims: Mapping[str, object]) -> frozenset[str]:
    """`scope` (RFC 8693 section 4.2), or `scp` as some providers write it; either as a string or a list."""
    given = claims.get("scope", claims.get("scp", ""))
    named = given.split(" ") if isinstance(given, str) else given
    return frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset()
