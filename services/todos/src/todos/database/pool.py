"""The pool of connections, and what its failures mean for a request."""

import asyncio
import math
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from runtime.user_shares import UserShares
from todos.database.pipeline import PipelinedConnection

CONNECT_SECONDS = 3
ACQUIRE_SECONDS = 2
"""How long a request waits for a connection to be opened."""
SILENT_SECONDS = 1
"""After which a database that sends nothing may be down: then it is not the user who is to blame."""
MAX_LIFETIME_SECONDS = 240
"""Poolers and load balancers in between drop connections after five minutes."""
RECONNECT_SECONDS = 2
"""After which the pool gives up, so that the next request makes a new attempt instead of a long pause."""


@dataclass(slots=True)
class Database:
    """The pool, and whether its database was found ready; until then no request uses it."""

    pool: AsyncConnectionPool[PipelinedConnection]
    url: SecretStr
    statement_seconds: float
    search_seconds: float
    places: UserShares
    """The connections that users hold; never more than there are, so that nobody waits for one in use."""
    searches: UserShares
    """Those under way, each of which holds a connection for long."""
    fit: bool = False
    answered_at: float = -math.inf
    """The event loop's time at which the server last sent something."""

    def note_answer(self) -> None:
        """Note that the server sent something."""
        self.answered_at = asyncio.get_running_loop().time()

    def is_silent(self) -> bool:
        """Whether nothing came from the server for `SILENT_SECONDS`."""
        return asyncio.get_running_loop().time() - self.answered_at > SILENT_SECONDS

    def is_connecting(self) -> bool:
        """Whether requests wait for connections to be opened."""
        return self.pool.get_stats()["requests_waiting"] > 0


@asynccontextmanager
async def open_database(
    url: SecretStr,
    *,
    pool_size: int,
    statement_seconds: float,
    search_seconds: float,
    places: UserShares,
    searches: UserShares,
) -> AsyncIterator[Database]:
    """The pool, which connects once it is opened; it is closed at the end."""

    async def configure(connection: PipelinedConnection) -> None:
        connection.note_answer = database.note_answer

    pool = AsyncConnectionPool(
        url.get_secret_value(),
        connection_class=PipelinedConnection,
        configure=configure,
        open=False,
        min_size=1,
        max_size=pool_size,
        timeout=ACQUIRE_SECONDS,
        max_lifetime=MAX_LIFETIME_SECONDS,
        reconnect_timeout=RECONNECT_SECONDS,
        kwargs=connection_options(statement_seconds),
    )
    database = Database(pool, url, statement_seconds, search_seconds, places, searches)
    try:
        yield database
    finally:
        await pool.close()


def connection_options(statement_seconds: float) -> dict[str, object]:
    """What every connection of this service is opened with; nothing that a transaction pooler would lose."""
    return {
        "autocommit": True,
        "prepare_threshold": None,
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # a silent network: the kernel reports it soon after the statement should have ended
        "tcp_user_timeout": int((statement_seconds + CONNECT_SECONDS) * 1000),
        "application_name": "todos",
    }


def is_closed_by_server(connection: PipelinedConnection) -> bool:
    """Whether the server has closed the connection, found without a round trip: an idle one has nothing to read."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))
