"""Checks the claims of a token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from gateway.auth_errors import invalid_token
from gateway.token.observer import Observer, unobserved
from gateway.token.user_ids import UserIds
from runtime.logs import pseudonym

AT_JWT = "at+jwt"
"""The type of a token that follows RFC 9068."""
_LAST_SECOND = 253402300799
"""The end of the year 9999."""

type ClaimValue = str | int | bool


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for the claims of one issuer's tokens.

    Attributes:
        audiences: the services that a token may be for.
        user_claim: the claim that holds the user.
        user_ids: what becomes of its value.
        required_claims: claims that a token must have, each with exactly this value.
        max_lifetime: of a token, in seconds.
        leeway: by how many seconds the provider's clock may differ.
    """

    audiences: frozenset[str]
    user_claim: str
    user_ids: UserIds
    required_claims: Mapping[str, ClaimValue]
    max_lifetime: int
    leeway: int


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


def check(
    claims: Mapping[str, object], token_type: str | None, rules: Rules, now: float, observe: Observer = unobserved
) -> Bearer:
    """Check the claims (RFC 7519 section 4.1) of a token of this type at `now`, in Unix seconds.

    The user claim, `exp` and the required claims must be there. `aud` must name one of ours; where it is absent, `azp`
    and `client_id` must. `exp` lies at most `max_lifetime` after `iat`, or after `now` where there is no `iat`. A token
    with `events` is a security event (RFC 8417 section 2.2) under any type; one with `cnf` is bound to a key
    (RFC 7800), which a bearer token does not show.

    Raises:
        AuthenticationError: `invalid_token` with the reason of the first rule that is broken.
    """
    observe("audience", rules.audiences, claims, "aud", "azp", "client_id")
    if not _audience_fits(claims, token_type, rules.audiences):
        raise invalid_token("audience")
    observe("required claims", rules.required_claims, claims, "events", *rules.required_claims)
    if "events" in claims or not all(_has(claims, name, value) for name, value in rules.required_claims.items()):
        raise invalid_token("claims")
    observe("user", rules.user_claim, claims, rules.user_claim)
    user_id = _user_id(claims, rules)
    observe("expiry", now, claims, "exp", "iat", "nbf")
    expires, issued, not_before = (_instant(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise invalid_token("claims")
    if expires + rules.leeway <= now:
        raise invalid_token("expired")
    observe("start", now, claims, "nbf", "iat")
    if any(start is not None and start - rules.leeway > now for start in (not_before, issued)):
        raise invalid_token("not_yet_valid")
    observe("lifetime", rules.max_lifetime, claims, "iat", "exp")
    if expires - (now if issued is None else issued) > rules.max_lifetime:
        raise invalid_token("claims")
    observe("bearer", "no cnf", claims, "cnf")
    if "cnf" in claims:
        raise invalid_token("bound")
    observe("token id", "a string", claims, "jti")
    return Bearer(user_id, expires, issued, _token_id(claims), _scopes(claims))


def _audience_fits(claims: Mapping[str, object], token_type: str | None, audiences: frozenset[str]) -> bool:
    """`client_id` counts as `azp` does, but for RFC 9068 (section 2.2), where `aud` is never absent."""
    if "aud" in claims:
        given = claims["aud"]
        named = given if isinstance(given, list) else [given]
        return all(isinstance(name, str) for name in named) and not audiences.isdisjoint(named)
    if "azp" not in claims and (token_type == AT_JWT or "client_id" not in claims):
        return False
    clients = [claims[name] for name in ("azp", "client_id") if name in claims]
    return all(isinstance(client, str) and client in audiences for client in clients)


def _has(claims: Mapping[str, object], name: str, value: ClaimValue) -> bool:
    given = claims.get(name)
    # in Python, though not in JSON, 1 is true
    return type(given) is type(value) and given == value


def _user_id(claims: Mapping[str, object], rules: Rules) -> str:
    name = claims.get(rules.user_claim)
    try:
        if isinstance(name, str):
            return rules.user_ids.of(name)
    except ValueError:
        pass
    raise invalid_token("claims")


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
    if not isinstance(token_id, str):
        raise invalid_token("claims")
    return token_id


def _scopes(claims: Mapping[str, object]) -> frozenset[str]:
    """`scope` (RFC 8693 section 4.2), or `scp` as some providers write it; either as a string or a list."""
    given = claims.get("scope", claims.get("scp", ""))
    named = given.split(" ") if isinstance(given, str) else given
    return frozenset(name for name in named if isinstance(name, str)) if isinstance(named, list) else frozenset()
