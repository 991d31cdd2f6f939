"""Writes the revocations that this process remembers back to a Redis that lost its data."""

import logging
import secrets
from itertools import batched

from gateway.limits.redis_connection import RedisConnection, RedisError
from gateway.limits.revocation import RevocationMemory, write
from runtime.logs import fields

DATA_ID_KEY = "gateway:data-id"
"""Names the data that Redis holds. It is lost with them, and whichever gateway misses it first writes another."""
PIECE = 100
"""Revocations written at once: requests wait for less than 1 ms of them."""

log = logging.getLogger("gateway.limits")


class RevocationRestorer:
    """Writes what is remembered once to each connection, and again whenever the data behind it changed."""

    def __init__(self, memory: RevocationMemory) -> None:
        self._memory = memory
        self._written: tuple[RedisConnection, object] | None = None

    async def restore(self, connection: RedisConnection) -> None:
        """Compare the data with those that were written to last, and write where they are others.

        Raises:
            RedisError: not all was written; the next call tries again.
        """
        new = secrets.token_hex(16)
        held = await connection.ask("SET", DATA_ID_KEY, new, "NX", "GET")
        data = connection, new.encode() if held is None else held
        if data != self._written:
            await self._write_all(connection)
            self._written = data

    async def _write_all(self, connection: RedisConnection) -> None:
        count = 0
        try:
            for piece in batched(self._memory.remembered(), PIECE, strict=False):
                await write(connection, piece)
                count += len(piece)
        except RedisError as error:
            log.warning("revocations not written back", extra=fields(revocations=count, reason=str(error)))
            raise
        if count:
            log.info("revocations written back", extra=fields(revocations=count))
