"""The keys of one issuer, refreshed before they expire and kept while the provider is unavailable."""

import asyncio
import logging
import random

from gateway.auth_errors import invalid_token, keys_unavailable
from gateway.clock import SYSTEM, Clock
from gateway.expiring_lru import ExpiringLRU
from gateway.keys.jwks import Key
from gateway.keys.jwks_fetch import FetchedJwks, JwksFetcher, JwksFetchError
from gateway.metrics import Metrics
from runtime.logs import fields

STALE_SECONDS = 24 * 3600.0
REFRESH_AT = 0.8
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
UNKNOWN_KID_WAIT_SECONDS = 1.0
UNKNOWN_KID_INTERVAL_SECONDS = 30.0
REMEMBERED_UNKNOWN_KIDS = 1024
UNKNOWN_KID_SECONDS = 60.0

log = logging.getLogger("gateway.keys")


class JwksCache:
    """Returns keys from memory; fetches in the background, and for unknown key ids."""

    def __init__(self, fetcher: JwksFetcher, issuer: str, metrics: Metrics, clock: Clock = SYSTEM) -> None:
        self._fetcher = fetcher
        self._issuer = issuer
        self._metrics = metrics
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._etag: str | None = None
        self._fresh_seconds = 0.0
        self._confirmed = -STALE_SECONDS
        self._last_fetch_failed = True
        self._asked_for_unknown = -UNKNOWN_KID_INTERVAL_SECONDS
        self._unknown: ExpiringLRU[str, bool] = ExpiringLRU(REMEMBERED_UNKNOWN_KIDS, clock.monotonic)
        self._fetching: asyncio.Task[bool] | None = None
        metrics.jwks_age.labels(issuer).set_function(self.age)
        metrics.jwks_stale.labels(issuer).set_function(lambda: self.age() > self._fresh_seconds)

    def preload(self, keys: dict[str, Key]) -> None:
        """Serve with these keys, as stale ones, until the first fetch succeeds."""
        self._keys, self._confirmed = keys, self._clock.monotonic()

    @property
    def loaded(self) -> bool:
        """Whether a usable set was ever loaded; readiness waits for it."""
        return bool(self._keys)

    def age(self) -> float:
        """Seconds since the provider last confirmed the set."""
        return self._clock.monotonic() - self._confirmed

    def holds(self, kid: str, key: Key) -> bool:
        """Whether `kid` still names this very key."""
        return self._keys.get(kid) is key and self.age() < STALE_SECONDS

    async def key(self, kid: str) -> Key:
        """The key with this id.

        An id that is not in the set may ask the provider, at most once in 30 s, and waits 1 s at most.

        Raises:
            AuthenticationError: `unknown_key` where the provider's current set lacks it, `keys_unavailable`
                where that cannot be told, or where the set has not been confirmed for 24 h.
        """
        if self.age() < STALE_SECONDS:
            key = self._keys.get(kid)
            if key is not None:
                return key
            if self._unknown.get(kid):
                raise invalid_token("unknown_key")
        return await self._ask_for(kid)

    async def _ask_for(self, kid: str) -> Key:
        if self._fetching is not None or self._may_ask():
            answered = await self._joined_fetch()
            key = self._keys.get(kid)
            if answered and key is not None:
                return key
            if answered:
                self._unknown.put(kid, value=True, seconds=UNKNOWN_KID_SECONDS)
        elif not self._last_fetch_failed:
            raise invalid_token("unknown_key")
        else:
            answered = False
        raise invalid_token("unknown_key") if answered else keys_unavailable()

    def _may_ask(self) -> bool:
        now = self._clock.monotonic()
        if now - self._asked_for_unknown < UNKNOWN_KID_INTERVAL_SECONDS:
            return False
        self._asked_for_unknown = now
        return True

    async def _joined_fetch(self) -> bool:
        """Whether the one fetch under way brought a good answer within the time a request waits for it."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._fetch_once()), UNKNOWN_KID_WAIT_SECONDS)
        except TimeoutError:
            return False

    def _fetch_once(self) -> asyncio.Task[bool]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> bool:
        try:
            fetched = await self._fetcher.fetch(self._etag if self._keys else None)
        except JwksFetchError as error:
            self._last_fetch_failed = True
            self._metrics.jwks_fetches.labels(self._issuer, "failure").inc()
            log.warning("JWKS fetch failed", extra=fields(issuer=self._issuer, reason=str(error)))
            return False
        else:
            self._take(fetched)
            return True
        finally:
            self._fetching = None

    def _take(self, fetched: FetchedJwks) -> None:
        self._last_fetch_failed = False
        self._etag, self._fresh_seconds, self._confirmed = fetched.etag, fetched.fresh_seconds, self._clock.monotonic()
        self._metrics.jwks_fetches.labels(self._issuer, "success").inc()
        if fetched.keys is None or fetched.keys == self._keys:
            return
        # an unchanged key stays the same object, so that tokens verified with it stay remembered
        self._keys = {kid: self._same(kid, key) for kid, key in fetched.keys.items()}
        self._unknown.clear()
        log.info("JWKS updated", extra=fields(issuer=self._issuer, keys=len(self._keys)))

    def _same(self, kid: str, key: Key) -> Key:
        held = self._keys.get(kid)
        return held if held is not None and held == key else key

    async def refresh_forever(self) -> None:
        """Fetch at 80 % of the set's freshness, and after a failure again in 1 s, later up to 60 s, jittered."""
        retry_seconds = FIRST_RETRY_SECONDS
        while True:
            if await asyncio.shield(self._fetch_once()):
                retry_seconds = FIRST_RETRY_SECONDS
                pause: float = self._fresh_seconds * REFRESH_AT
            else:
                pause, retry_seconds = retry_seconds, min(retry_seconds * 2, LAST_RETRY_SECONDS)
            await self._clock.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - spreads load, hides nothing
