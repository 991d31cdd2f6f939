"""PostgreSQL out of connections, locked, read-only, and with its disk full."""

import contextlib
from collections.abc import AsyncIterator, Iterator

import psycopg
from psycopg import sql

from devtools.postgres import LocalPostgres
from tests.resilience.client import Outcome
from tests.resilience.scenario import Fault, Scenario, Stage, blocking, everybody, writers

LOCKED_SECONDS = 7
"""Longer than todos lets a statement take."""

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'todos'"


def superuser(postgres: LocalPostgres) -> psycopg.Connection:
    return psycopg.connect(postgres.superuser_url(), autocommit=True)


@contextlib.asynccontextmanager
async def out_of_connections(stage: Stage) -> AsyncIterator[None]:
    """Somebody else takes every connection, and todos has to connect again."""
    postgres, taken = stage.cluster.stores.postgres, list[psycopg.Connection]()

    def take() -> None:
        with superuser(postgres) as connection:
            taken.extend(_every_connection(postgres))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'todos'"
            )
            taken.extend(_every_connection(postgres))

    def give_back() -> None:
        for connection in taken:
            connection.close()

    try:
        await blocking(take)
        yield
    finally:
        await blocking(give_back)


def _every_connection(postgres: LocalPostgres) -> Iterator[psycopg.Connection]:
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            yield psycopg.connect(postgres.owner_url())


def locked(statement: str) -> Fault:
    """The lock that `statement` takes is held."""

    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        connection = superuser(stage.cluster.stores.postgres)
        try:
            await blocking(lambda: connection.execute(sql.SQL(f"BEGIN; {statement}")))
            yield
        finally:
            await blocking(connection.close)

    return fault


class LockedUser:
    """One user's row is locked, so that its writes wait; `touched` are those."""

    def __init__(self) -> None:
        self._user = ""

    def touched(self, outcome: Outcome) -> bool:
        return outcome.user == self._user

    @contextlib.asynccontextmanager
    async def fault(self, stage: Stage) -> AsyncIterator[None]:
        self._user = stage.crowd.members[0].user.model.user
        lock = f"SELECT FROM user_state WHERE user_id = '{self._user}' FOR UPDATE"
        async with locked(lock)(stage):
            yield


@contextlib.asynccontextmanager
async def read_only(stage: Stage) -> AsyncIterator[None]:
    """As a standby that was promoted to nothing: every write is refused."""
    await blocking(lambda: _configure(stage.cluster.stores.postgres, "SET default_transaction_read_only = on"))
    try:
        yield
    finally:
        await blocking(lambda: _configure(stage.cluster.stores.postgres, "RESET default_transaction_read_only"))


def _configure(postgres: LocalPostgres, change: str) -> None:
    with superuser(postgres) as connection:
        connection.execute(sql.SQL(f"ALTER SYSTEM {change}"))
        connection.execute("SELECT pg_reload_conf()")


@contextlib.asynccontextmanager
async def disk_full(stage: Stage) -> AsyncIterator[None]:
    """No byte more can be written; a server that ended over it is started when there is room again."""
    postgres, disk = stage.cluster.stores.postgres, stage.cluster.disk
    assert disk, "the catalogue leaves this out where there is no disk of our own"
    await blocking(disk.fill)
    try:
        yield
    finally:
        await blocking(disk.free)
        if not postgres.child.alive:
            await blocking(postgres.start)


def scenarios() -> list[Scenario]:
    one = LockedUser()
    table = "another session holds the table of todos locked for 7 s"
    row = "another session holds one user's row locked for 7 s"
    taken = "every connection of PostgreSQL is taken, and todos loses its own"
    return [
        Scenario("postgres-connections", taken, everybody, out_of_connections),
        Scenario("postgres-locked", table, everybody, locked("LOCK TABLE todo"), LOCKED_SECONDS),
        Scenario("postgres-locked-user", row, one.touched, one.fault, LOCKED_SECONDS),
        Scenario("postgres-read-only", "PostgreSQL takes no writes", writers, read_only),
        Scenario("postgres-disk-full", "PostgreSQL's disk is full", everybody, disk_full, needs_disk=True),
    ]
