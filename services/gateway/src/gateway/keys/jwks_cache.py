"""The keys of one issuer, refreshed before they expire and kept while the provider is unavailable."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from cachetools import FIFOCache

from gateway.auth_errors import AuthenticationError, invalid_token, keys_unavailable, not_fetched_yet
from gateway.clock import SYSTEM, Clock
from gateway.expiring_lru import ExpiringLRU
from gateway.keys.fetch_budget import FetchBudget
from gateway.keys.jwks import Key, KeySet
from gateway.keys.jwks_fetch import FetchedJwks, JwksFetcher, JwksFetchError
from gateway.metrics import Metrics
from runtime.logs import fields
from strict_http.deadline import time_limit

STALE_SECONDS = 24 * 3600.0
REFRESH_AT = 0.8
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
FETCH_WAIT_SECONDS = 1.0
UNKNOWN_KID_INTERVAL_SECONDS = 5.0
WITHOUT_KID_FETCHES_A_MINUTE = 2
REMEMBERED_UNKNOWN_KIDS = 1024
UNKNOWN_KID_SECONDS = 60.0

log = logging.getLogger("gateway.keys")


class JwksCache:
    """Returns keys from memory; fetches in the background, and for tokens whose key is not in memory.

    Anyone can invent a key id, so the latter fetches are limited. A key id is unknown only after a fetch that began
    when a token had already come with it: earlier fetches may have been before a rotation.
    """

    def __init__(self, fetcher: JwksFetcher, issuer: str, metrics: Metrics, clock: Clock = SYSTEM) -> None:
        self._fetcher = fetcher
        self._issuer = issuer
        self._metrics = metrics
        self._clock = clock
        self._keys = KeySet()
        self._etag: str | None = None
        self._fresh_seconds = 0.0
        self._confirmed = -STALE_SECONDS
        self._last_fetch_failed = True
        self._fetching: asyncio.Task[bool] | None = None
        self._for_unknown_kids = FetchBudget(1, UNKNOWN_KID_INTERVAL_SECONDS, clock.monotonic)
        self._without_kid = FetchBudget(WITHOUT_KID_FETCHES_A_MINUTE, 60, clock.monotonic)
        # key ids, and signatures of tokens without one, by their hashes: a stranger's may be as long as a token
        self._sought: FIFOCache[int, bool] = FIFOCache(REMEMBERED_UNKNOWN_KIDS)
        self._unknown: ExpiringLRU[int, bool] = ExpiringLRU(REMEMBERED_UNKNOWN_KIDS, clock.monotonic)
        metrics.jwks_age.labels(issuer).set_function(self.age)
        metrics.jwks_stale.labels(issuer).set_function(lambda: self.age() > self._fresh_seconds)

    def preload(self, keys: KeySet) -> None:
        """Serve with these keys, as stale ones, until the first fetch succeeds."""
        self._keys, self._confirmed = keys, self._clock.monotonic()

    @property
    def loaded(self) -> bool:
        """Whether a usable set was ever loaded; readiness waits for it."""
        return bool(self._keys)

    @property
    def kids(self) -> frozenset[str | None]:
        """The ids of the keys in memory; None where a key has no id."""
        return self._keys.kids

    def age(self) -> float:
        """Seconds since the provider last confirmed the set."""
        return self._clock.monotonic() - self._confirmed

    def held(self, kid: str | None, algorithm: str) -> Key | None:
        """The key in memory that `KeySet.find` gives, unless the set has not been confirmed for 24 h."""
        return self._keys.find(kid, algorithm) if self.age() < STALE_SECONDS else None

    async def key(self, kid: str, algorithm: str) -> Key:
        """The key with this id for this algorithm.

        For an id that is not in the set, the set is fetched, at most once in 5 s; a request waits 1 s at most.

        Raises:
            AuthenticationError: `unknown_key` where the set lacks the id or has several keys under it, `algorithm`
                where the key is for another algorithm; with status 503 where no fetch began since this id first
                came, where the fetch fails, or where the set has not been confirmed for 24 h.
        """
        key = self.held(kid, algorithm)
        if key is None and not self._has(kid):
            name = hash(kid)
            await self._seek(name, lambda: self._has(kid), self._for_unknown_kids)
            if not self._has(kid):
                raise invalid_token("unknown_key") if self._unknown.get(name) else self._undecided()
            key = self.held(kid, algorithm)
        if key is None:
            raise invalid_token("unknown_key" if self._keys.is_ambiguous(kid, algorithm) else "algorithm")
        return key

    async def fetch_for_signature(self, signature: bytes) -> None:
        """Fetch the set for a token without key id whose signature no key verifies, at most twice a minute.

        Raises:
            AuthenticationError: `keys_unavailable` where the fetch fails.
        """
        name, tried = hash(signature), self._keys
        await self._seek(name, lambda: self._keys is not tried, self._without_kid)
        settled = self._keys is not tried or self._unknown.get(name)
        if not settled and (self._last_fetch_failed or self._fetching is not None):
            raise self._undecided()

    def _has(self, kid: str) -> bool:
        return kid in self._keys.kids and self.age() < STALE_SECONDS

    async def _seek(self, name: int, found: Callable[[], bool], budget: FetchBudget) -> None:
        """Fetch within the budget until found or known to be unknown; a request waits 1 s at most."""
        if self._unknown.get(name):
            return
        self._sought[name] = True
        with contextlib.suppress(TimeoutError):
            async with time_limit(FETCH_WAIT_SECONDS):
                while not found() and not self._unknown.get(name) and (self._fetching or budget.take()):
                    await asyncio.shield(self._fetch_once())

    def _undecided(self) -> AuthenticationError:
        return keys_unavailable() if self._last_fetch_failed else not_fetched_yet()

    def _fetch_once(self) -> asyncio.Task[bool]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> bool:
        sought, self._sought = self._sought, FIFOCache(REMEMBERED_UNKNOWN_KIDS)
        before = _names(self._keys)
        try:
            fetched = await self._fetcher.fetch(self._etag if self._keys else None)
        except JwksFetchError as error:
            self._last_fetch_failed = True
            self._metrics.jwks_fetches.labels(self._issuer, "failure").inc()
            fault = error.fault
            log.warning(
                "JWKS fetch failed",
                extra=fields(issuer=self._issuer, host=fault.host, port=fault.port, reason=fault.reason),
            )
            return False
        else:
            self._take(fetched)
            for name in (before | sought.keys()) - _names(self._keys):
                self._unknown.put(name, value=True, seconds=UNKNOWN_KID_SECONDS)
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
        self._keys = fetched.keys.keeping(self._keys)
        self._unknown.clear()
        log.info("JWKS updated", extra=fields(issuer=self._issuer, keys=len(self._keys.kids)))

    async def refresh(self) -> bool:
        """Fetch the set once; whether that succeeded."""
        return await asyncio.shield(self._fetch_once())

    async def refresh_forever(self) -> None:
        """Fetch at 80 % of the set's freshness, and after a failure again in 1 s, later up to 60 s, jittered."""
        retry_seconds = FIRST_RETRY_SECONDS
        while True:
            if await self.refresh():
                retry_seconds = FIRST_RETRY_SECONDS
                pause: float = self._fresh_seconds * REFRESH_AT
            else:
                pause, retry_seconds = retry_seconds, min(retry_seconds * 2, LAST_RETRY_SECONDS)
            await self._clock.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - spreads load, hides nothing


def _names(keys: KeySet) -> set[int]:
    return {hash(kid) for kid in keys.kids}
