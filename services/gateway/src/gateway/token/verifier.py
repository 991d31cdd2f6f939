"""A verified token, remembered while its key lives."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.auth_errors import invalid_token
from gateway.clock import SYSTEM, Clock
from gateway.expiring_lru import ExpiringLRU
from gateway.keys.jwks import Key, canonical
from gateway.keys.jwks_cache import JwksCache
from gateway.token import bearer, claims
from gateway.token.bearer import Parts
from gateway.token.claims import Bearer, Rules
from gateway.token.observer import Observer, unobserved

REMEMBERED_TOKENS = 16384
REMEMBERED_SECONDS = 60


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose tokens are accepted.

    Attributes:
        names: the values of `iss` in its tokens.
        algorithms: their signatures', by the names of `canonical`.
        token_types: as `token_type` writes `typ`; None where a token may have none.
        keys: that verify the signatures.
        rules: for the claims.
    """

    names: frozenset[str]
    algorithms: frozenset[str]
    token_types: frozenset[str | None]
    keys: JwksCache
    rules: Rules


class _Verified(NamedTuple):
    bearer: Bearer
    keys: JwksCache
    kid: str | None
    algorithm: str
    key: Key

    @property
    def key_is_held(self) -> bool:
        return self.keys.held(self.kid, self.algorithm) is self.key


class TokenVerifier:
    """Verifies tokens, and remembers the verified ones."""

    def __init__(self, issuers: Iterable[TrustedIssuer], max_token_bytes: int, clock: Clock = SYSTEM) -> None:
        self._issuers = {name: issuer for issuer in issuers for name in issuer.names}
        self._max_token_bytes = max_token_bytes
        self._clock = clock
        self._remembered: ExpiringLRU[bytes, _Verified] = ExpiringLRU(REMEMBERED_TOKENS, clock.wall)

    async def verify(self, token: bytes, observe: Observer = unobserved) -> Bearer:
        """Verify the signature, then the claims; a token seen within the last minute costs one look-up.

        `observe` sees each rule of a token that is not remembered.

        Raises:
            AuthenticationError: `invalid_token` with the reason, or `keys_unavailable`.
        """
        observe("size", self._max_token_bytes, {"bytes": len(token)}, "bytes")
        if len(token) > self._max_token_bytes:
            raise invalid_token("too_large")
        digest = hashlib.sha256(token).digest()
        known = self._remembered.get(digest)
        if known is not None and known.key_is_held:
            return known.bearer
        observe("JWT", 3, {"parts": token.count(b".") + 1}, "parts")
        verified = await self._verify(bearer.parse(token), observe)
        seconds = min(REMEMBERED_SECONDS, verified.bearer.expires - self._clock.wall())
        self._remembered.put(digest, verified, seconds)
        return verified.bearer

    async def _verify(self, parts: Parts, observe: Observer) -> _Verified:
        observe("issuer", self._issuers.keys(), parts.claims, "iss")
        named = parts.claims.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise invalid_token("issuer")
        observe("algorithm", issuer.algorithms, parts.header, "alg")
        algorithm = canonical(parts.algorithm)
        if algorithm not in issuer.algorithms:
            raise invalid_token("algorithm")
        observe("type", issuer.token_types, parts.header, "typ")
        if parts.type not in issuer.token_types:
            raise invalid_token("malformed")
        observe("key", issuer.keys.kids, parts.header, "kid", "alg")
        if parts.kid is None:
            key = await _key_without_kid(issuer.keys, algorithm, parts, observe)
        else:
            key = await _key_with_kid(issuer.keys, parts.kid, algorithm, parts, observe)
        checked = claims.check(parts.claims, parts.type, issuer.rules, self._clock.wall(), observe)
        return _Verified(checked, issuer.keys, parts.kid, algorithm, key)


async def _key_with_kid(keys: JwksCache, kid: str, algorithm: str, parts: Parts, observe: Observer) -> Key:
    key = await keys.key(kid, algorithm)
    _observe_signature(observe)
    if not key.verifies(algorithm, parts.signing_input, parts.signature):
        raise invalid_token("signature")
    return key


async def _key_without_kid(keys: JwksCache, algorithm: str, parts: Parts, observe: Observer) -> Key:
    """The one key of the set that fits the algorithm, if it verifies (RFC 7515 section 4.1.4: `kid` is optional).

    A provider whose tokens have no key id may have put another key in its place.
    """
    key = keys.held(None, algorithm)
    if key is not None and key.verifies(algorithm, parts.signing_input, parts.signature):
        _observe_signature(observe)
        return key
    await keys.fetch_for_signature(parts.signature)
    newer = keys.held(None, algorithm)
    if newer is None:
        raise invalid_token("unknown_key")
    _observe_signature(observe)
    if newer is key or not newer.verifies(algorithm, parts.signing_input, parts.signature):
        raise invalid_token("signature")
    return newer


def _observe_signature(observe: Observer) -> None:
    observe("signature", "made with this key", {})
