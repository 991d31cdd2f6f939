"""A verified token, remembered while its key lives."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.auth_errors import invalid_token
from gateway.clock import SYSTEM, Clock
from gateway.expiring_lru import ExpiringLRU
from gateway.keys.jwks import Key
from gateway.keys.jwks_cache import JwksCache
from gateway.token import bearer, claims
from gateway.token.claims import Bearer, Rules

REMEMBERED_TOKENS = 16384
REMEMBERED_SECONDS = 60


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose tokens are accepted: its keys, its rules, and the algorithms that it may use."""

    keys: JwksCache
    rules: Rules
    algorithms: frozenset[str]


class _Verified(NamedTuple):
    bearer: Bearer
    key: Key
    kid: str
    keys: JwksCache


class TokenVerifier:
    """Verifies tokens, and remembers the verified ones."""

    def __init__(self, issuers: Iterable[TrustedIssuer], clock: Clock = SYSTEM) -> None:
        self._issuers = {issuer.rules.issuer: issuer for issuer in issuers}
        self._clock = clock
        self._remembered: ExpiringLRU[bytes, _Verified] = ExpiringLRU(REMEMBERED_TOKENS, clock.wall)

    async def verify(self, token: bytes) -> Bearer:
        """Verify the signature, then the claims; a token seen within the last minute costs one look-up.

        Raises:
            AuthenticationError: `invalid_token` with the reason, or `keys_unavailable`.
        """
        digest = hashlib.sha256(token).digest()
        known = self._remembered.get(digest)
        if known is not None and known.keys.holds(known.kid, known.key):
            return known.bearer
        verified = await self._verify(bearer.parse(token))
        seconds = min(REMEMBERED_SECONDS, verified.bearer.expires - self._clock.wall())
        self._remembered.put(digest, verified, seconds)
        return verified.bearer

    async def _verify(self, parts: bearer.Parts) -> _Verified:
        named = parts.claims.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise invalid_token("issuer")
        if parts.algorithm not in issuer.algorithms:
            raise invalid_token("algorithm")
        if parts.kid is None:
            raise invalid_token("unknown_key")
        key = await issuer.keys.key(parts.kid)
        if parts.algorithm not in key.algorithms:
            raise invalid_token("algorithm")
        if not key.verifies(parts.algorithm, parts.signing_input, parts.signature):
            raise invalid_token("signature")
        checked = claims.check(parts.claims, issuer.rules, self._clock.wall())
        return _Verified(checked, key, parts.kid, issuer.keys)
