"""The pool of connections, and what its failures mean for a request."""

import contextlib
import logging
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from runtime.logs import fields
from runtime.problems import ProblemError, retry_after
from todos.database.pipeline import PipelinedConnection
from todos.database.reachability import fault_of

CONNECT_SECONDS = 3
ACQUIRE_SECONDS = 2
"""How long a request waits for a connection."""
MAX_LIFETIME_SECONDS = 240
"""Poolers and load balancers in between drop connections after five minutes."""
RECONNECT_SECONDS = 2
"""After which the pool gives up, so that the next request makes a new attempt instead of a long pause."""
RETRY_AFTER_SECONDS = 2

log = logging.getLogger("todos.database")


@dataclass(slots=True)
class Database:
    """The pool, and whether what it reaches was found fit to serve from; until then no request meets it."""

    pool: AsyncConnectionPool[PipelinedConnection]
    url: SecretStr
    statement_seconds: float
    fit: bool = False


@asynccontextmanager
async def open_database(url: SecretStr, *, pool_size: int, statement_seconds: float) -> AsyncIterator[Database]:
    """The pool, which connects once it is opened; it is closed at the end."""
    pool = AsyncConnectionPool(
        url.get_secret_value(),
        connection_class=PipelinedConnection,
        open=False,
        min_size=1,
        max_size=pool_size,
        timeout=ACQUIRE_SECONDS,
        max_lifetime=MAX_LIFETIME_SECONDS,
        reconnect_timeout=RECONNECT_SECONDS,
        kwargs=connection_options(statement_seconds),
    )
    try:
        yield Database(pool, url, statement_seconds)
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
    """Whether the server has hung up, found without a round trip: an idle connection has nothing to say."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def unavailable() -> ProblemError:
    """The answer while the database cannot be used."""
    return ProblemError(
        "database_unavailable",
        "The database cannot be reached at the moment; nothing was lost. Try again.",
        headers=[retry_after(RETRY_AFTER_SECONDS)],
    )


@contextlib.contextmanager
def answering_unavailable(database: Database) -> Iterator[None]:
    """Turn every way in which a database can be gone into a 503, logged without the database's words."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, ReadOnlySqlTransaction, TimeoutError) as error:
        fault = fault_of(error, database.url.get_secret_value())
        extra = fields(**fault._asdict(), sqlstate=getattr(error, "sqlstate", None))
        log.warning("database unavailable", extra=extra)
        raise unavailable() from None
