"""Tokens that are dead before they expire."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from cachetools import LRUCache
from redis.asyncio import Redis

from gateway.limits.redis_command import CheckResult, revocation_keys
from gateway.token.claims import LEEWAY_SECONDS, Bearer

REMEMBERED_REVOCATIONS = 65536

_RAISE = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
return redis.call('SET', KEYS[1], string.format('%.0f', math.max(held, tonumber(ARGV[1]))), 'EX', ARGV[2])
"""


class _Known(NamedTuple):
    until: int
    forgotten: float


class RevocationMemory:
    """What this process was told, for as long as a token could have lived; it serves while Redis is away."""

    def __init__(self, max_lifetime: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_lifetime` of a token in seconds."""
        self._seconds = max_lifetime + LEEWAY_SECONDS
        self._clock = clock
        self._users: LRUCache[str, _Known] = LRUCache(REMEMBERED_REVOCATIONS)
        self._tokens: LRUCache[tuple[str, str], _Known] = LRUCache(REMEMBERED_REVOCATIONS)

    def holds(self, bearer: Bearer) -> bool:
        """Whether this token is known to be revoked."""
        user = self._users.get(bearer.user_id)
        if user is not None and int(bearer.issued or 0) <= user.until and self._clock() < user.forgotten:
            return True
        token = None if bearer.token_id is None else self._tokens.get((bearer.user_id, bearer.token_id))
        return token is not None and self._clock() < token.forgotten

    def learn(self, bearer: Bearer, result: CheckResult) -> None:
        forgotten = self._clock() + self._seconds
        if result.revoked_until is not None:
            self._users[bearer.user_id] = _Known(result.revoked_until, forgotten)
        elif result.token_revoked and bearer.token_id is not None:
            self._tokens[bearer.user_id, bearer.token_id] = _Known(0, forgotten)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One token of a user, or without `token_id` all that were issued up to the second `until`."""

    user_id: str
    token_id: str | None
    until: int


async def revoke(redis: Redis, revocation: Revocation, max_lifetime: int) -> None:
    """Write what every gateway reads with its next request, kept for as long as such a token could live.

    A later instant is never replaced by an earlier one.

    Raises:
        redis.RedisError: nothing was written, or it is not known.
    """
    seconds = max_lifetime + LEEWAY_SECONDS
    of_user, *of_token = revocation_keys(revocation.user_id, revocation.token_id)
    if of_token:
        await redis.set(of_token[0], 1, ex=seconds)
        return
    await redis.eval(_RAISE, 1, of_user, str(revocation.until), str(seconds))
