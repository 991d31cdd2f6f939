"""A verified token, remembered while its key lives."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache

from gateway.failures import refused
from gateway.keys.admission import Key
from gateway.keys.source import KeySource
from gateway.token import bearer, claims
from gateway.token.claims import Bearer, Rules

REMEMBERED_TOKENS = 16384
REMEMBERED_SECONDS = 60


@dataclass(frozen=True, slots=True)
class _Verified:
    bearer: Bearer
    key: Key
    kid: str


class TokenVerifier:
    """Proves whom a token speaks for."""

    def __init__(
        self, keys: KeySource, rules: Rules, algorithms: frozenset[str], clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._algorithms = algorithms
        self._clock = clock
        self._remembered: TLRUCache[bytes, _Verified] = TLRUCache(REMEMBERED_TOKENS, ttu=_until, timer=clock)

    async def verify(self, token: bytes) -> Bearer:
        """Verify the signature, then the claims; a token seen within the last minute costs one look-up.

        Raises:
            AuthenticationError: `invalid_token` with the reason, or `keys_unavailable`.
        """
        digest = hashlib.sha256(token).digest()
        known = self._remembered.get(digest)
        if known is not None and self._keys.holds(known.kid, known.key):
            return known.bearer
        verified = await self._verify(bearer.parse(token))
        self._remembered[digest] = verified
        return verified.bearer

    async def _verify(self, parts: bearer.Parts) -> _Verified:
        if parts.algorithm not in self._algorithms:
            raise refused("algorithm")
        if parts.kid is None:
            raise refused("unknown_key")
        key = await self._keys.key(parts.kid)
        if parts.algorithm not in key.algorithms:
            raise refused("algorithm")
        if not key.verifies(parts.algorithm, parts.signing_input, parts.signature):
            raise refused("signature")
        return _Verified(claims.check(parts.claims, self._rules, self._clock()), key, parts.kid)


def _until(_digest: bytes, verified: _Verified, now: float) -> float:
    return min(verified.bearer.expires, now + REMEMBERED_SECONDS)
