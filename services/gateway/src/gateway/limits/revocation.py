"""Tokens that are revoked before they expire."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import hiredis

from gateway.expiring_lru import ExpiringLRU
from gateway.limits.redis_command import CheckResult, revocation_keys
from gateway.limits.redis_connection import RedisConnection, pack, refusal
from gateway.limits.redis_url import RedisServer
from gateway.token.claims import Bearer

REMEMBERED_REVOCATIONS = 65536

_RAISE = """
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
return redis.call('SET', KEYS[1], string.format('%.0f', math.max(held, tonumber(ARGV[1]))))
"""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One token of a user, or without `token_id` all whose `iat` is up to the second `until`."""

    user_id: str
    token_id: str | None
    until: int

    def command(self) -> bytes:
        """What writes it for good, in Redis's protocol; a later `until` is never replaced by an earlier one."""
        of_user, *of_token = revocation_keys(self.user_id, self.token_id)
        if of_token:
            return pack("SET", of_token[0], 1)
        return pack("EVAL", _RAISE, 1, of_user, self.until)


class RevocationMemory:
    """The revocations that this process knows, for as long as a token can live; used while Redis is unavailable."""

    def __init__(self, max_lifetime: int, leeway: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_lifetime` of a token and `leeway` for the provider's clock in seconds."""
        # the leeway once for the latest `iat` that was revoked, once for `exp`; a second for what is rounded up
        self._seconds = max_lifetime + 2 * leeway + 1
        self._users: ExpiringLRU[str, int] = ExpiringLRU(REMEMBERED_REVOCATIONS, clock)
        self._tokens: ExpiringLRU[tuple[str, str], bool] = ExpiringLRU(REMEMBERED_REVOCATIONS, clock)

    def holds(self, bearer: Bearer) -> bool:
        """Whether this token is known to be revoked."""
        until = self._users.get(bearer.user_id)
        if until is not None and int(bearer.issued or 0) <= until:
            return True
        return bearer.token_id is not None and self._tokens.get((bearer.user_id, bearer.token_id)) is not None

    def learn(self, bearer: Bearer, result: CheckResult) -> None:
        if result.revoked_until is not None:
            self._users.put(bearer.user_id, result.revoked_until, self._seconds)
        elif result.token_revoked and bearer.token_id is not None:
            self._tokens.put((bearer.user_id, bearer.token_id), value=True, seconds=self._seconds)

    def remembered(self) -> Iterator[Revocation]:
        """All that is held now; what is learned while the caller walks through it may be missing."""
        for user_id in self._users.held_keys():
            until = self._users.get(user_id)
            if until is not None:
                yield Revocation(user_id, None, until)
        for user_id, token_id in self._tokens.held_keys():
            if self._tokens.get((user_id, token_id)) is not None:
                yield Revocation(user_id, token_id, 0)


def last_second_to_revoke(now: float, leeway: int) -> int:
    """The latest `iat` of a token that was issued by `now`, in Unix seconds: the provider's clock may be ahead."""
    return math.ceil(now) + leeway


async def revoke(server: RedisServer, revocation: Revocation) -> None:
    """Write what every gateway reads with its next request.

    It is kept for good: a token without `iat` has no known lifetime, and may become acceptable at any later time.
    A later instant is never replaced by an earlier one.

    Raises:
        RedisError: nothing was written, or it is not known.
    """
    connection = await RedisConnection.open(server)
    try:
        await write(connection, [revocation])
    finally:
        connection.close()


async def write(connection: RedisConnection, revocations: Sequence[Revocation]) -> None:
    """Write them in one round trip.

    Raises:
        RedisError: some were not written, or it is not known.
    """
    for reply in await connection.ask_all([revocation.command() for revocation in revocations]):
        if isinstance(reply, hiredis.ReplyError):
            raise refusal("the revocation", reply)
