"""What the claims of a token must say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.failures import refused

LEEWAY_SECONDS = 10
_USER_ID = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What one issuer's tokens are held to; `max_lifetime` in seconds."""

    issuer: str
    audiences: frozenset[str]
    user_claim: str
    max_lifetime: int


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token speaks for, and until when (Unix seconds)."""

    user_id: str
    expires: float


def check(claims: Mapping[str, object], rules: Rules, now: float) -> Bearer:
    """Judge the claims (RFC 7519 section 4.1) at `now`, in Unix seconds, with 10 s of leeway.

    `iss`, the user claim (1 to 255 visible ASCII characters) and `exp` are required. `aud` must name one of
    ours; only where it is absent an allowed `azp` stands in for it. `exp` lies at most `max_lifetime` after
    `iat`, or after `now` where there is no `iat`.

    Raises:
        AuthenticationError: `invalid_token` with the reason of the first rule that is broken.
    """
    if claims.get("iss") != rules.issuer:
        raise refused("issuer")
    if not _audience_fits(claims, rules.audiences):
        raise refused("audience")
    user_id = claims.get(rules.user_claim)
    if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id):
        raise refused("claims")
    expires, issued, not_before = (_instant(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise refused("claims")
    if expires + LEEWAY_SECONDS <= now:
        raise refused("expired")
    if any(start is not None and start - LEEWAY_SECONDS > now for start in (not_before, issued)):
        raise refused("not_yet_valid")
    if expires - (now if issued is None else issued) > rules.max_lifetime:
        raise refused("claims")
    return Bearer(user_id, expires)


def _audience_fits(claims: Mapping[str, object], audiences: frozenset[str]) -> bool:
    if "aud" not in claims:
        return claims.get("azp") in audiences if isinstance(claims.get("azp"), str) else False
    given = claims["aud"]
    named = given if isinstance(given, list) else [given]
    return all(isinstance(name, str) for name in named) and not audiences.isdisjoint(named)


def _instant(claims: Mapping[str, object], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2), of which none lies before 1970 or past the year 9999."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 253402300800:  # noqa: PLR2004
        raise refused("claims")
    return float(value)
