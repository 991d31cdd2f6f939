"""`todos migrate`: updates the schema, one process at a time, and grants the serving role its rights."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from todos.database.pool import CONNECT_SECONDS
from todos.database.reachability import fault_of
from todos.schema import maintenance_role
from todos.schema.models import PRIVILEGES, TABLES
from todos.settings import MigrateSettings

LOCK_SECONDS = 10
"""How long a migration waits for a table before it gives up, so that no request waits behind it for longer."""
IDLE_IN_TRANSACTION_SECONDS = 10
TURN_SECONDS = 0.1
"""Seconds between two checks whether another migration has ended."""

_ADVISORY_LOCK = 7_305_160_212_734_001


class MigrationError(Exception):
    """The schema could not be brought up to date; the message says why, for a person."""


def migrations_folder() -> Path:
    """Beside the modules in an installed wheel, beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def migrate(settings: MigrateSettings) -> Iterator[str]:
    """Bring the schema up to date, then grant; yields a line for each thing done.

    Raises:
        MigrationError: nothing half-done is left behind.
    """
    role = str(conninfo_to_dict(settings.database_url.get_secret_value())["user"])
    url = settings.migration_database_url.get_secret_value()
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, connect_timeout=CONNECT_SECONDS, prepare_threshold=None),
        poolclass=NullPool,
    )
    with _saying_why(url), engine.connect() as connection:
        _take_turn(connection)
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        connection.commit()
        yield from _upgrade(connection)
        yield from _grant(connection, role, settings.statement_timeout)
        if settings.maintenance_database_url:
            yield from _let_purge(connection, role, settings.maintenance_database_url)


def _take_turn(connection: Connection) -> None:
    """Lock for the session, for however long another one migrates.

    The lock is tried again and again: a statement that waited inside the server would hold a snapshot, and
    `CREATE INDEX CONCURRENTLY` of the other migration waits for the end of that snapshot.
    """
    while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})").scalar():
        connection.rollback()
        time.sleep(TURN_SECONDS)
    connection.commit()


def _upgrade(connection: Connection) -> Iterator[str]:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    before = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()
    if before is not None and before not in {script.revision for script in scripts.walk_revisions()}:
        raise MigrationError(f"the schema is at {before}, which is newer than this version of todos knows")
    head = scripts.get_current_head()
    if before == head:
        yield f"the schema is up to date, at {head}"
        return
    command.upgrade(config, "head")
    connection.commit()
    yield f"the schema was brought from {before or 'nothing'} to {head}"


def _grant(connection: Connection, role: str, statement_seconds: float) -> Iterator[str]:
    database = _driver_connection(connection)
    name = sql.Identifier(role)
    with database.transaction():
        schema = database.execute("SELECT current_schema(), current_user = %s", [role]).fetchone()
        if schema is None or schema[1]:
            raise MigrationError("TODOS_DATABASE_URL and TODOS_MIGRATION_DATABASE_URL name the same role")
        database.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema[0]), name))
        for table, privileges in PRIVILEGES.items():
            listed = sql.SQL(", ").join(sql.SQL(privilege) for privilege in sorted(privileges))
            database.execute(sql.SQL("GRANT {} ON {} TO {}").format(listed, sql.Identifier(table), name))
    yield f"the serving role may read and write {', '.join(TABLES)}"
    try:
        with database.transaction():
            for setting, seconds in (
                ("statement_timeout", statement_seconds),
                ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_SECONDS),
            ):
                milliseconds = sql.Literal(int(seconds * 1000))
                database.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.Identifier(setting), milliseconds)
                )
    except InsufficientPrivilege:
        yield "the owner may not set the serving role's time-outs: left as they are"
    else:
        yield "the serving role's time-outs are set"


def _let_purge(connection: Connection, serving: str, url: SecretStr) -> Iterator[str]:
    role = str(conninfo_to_dict(url.get_secret_value())["user"])
    database = _driver_connection(connection)
    with database.transaction():
        owner = database.execute("SELECT current_user").fetchone()
        if role == serving or owner == (role,):
            raise MigrationError("TODOS_MAINTENANCE_DATABASE_URL names the role of another setting")
    maintenance_role.grant(database, role)
    yield "the maintenance role may purge"


def _driver_connection(connection: Connection) -> psycopg.Connection:
    database = connection.connection.driver_connection
    assert isinstance(database, psycopg.Connection)  # noqa: S101 - what the engine makes
    return database


@contextmanager
def _saying_why(url: str) -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, SQLAlchemyError, CommandError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        reason = _REASONS.get(str(getattr(cause, "sqlstate", None))) or f"database at {fault_of(cause, url)}"
        raise MigrationError(reason) from None


_REASONS = {
    "42501": "the role of TODOS_MIGRATION_DATABASE_URL may not do that; it has to own the schema",
    "42704": "the role of TODOS_DATABASE_URL or of TODOS_MAINTENANCE_DATABASE_URL does not exist; create it first",
    "55P03": f"a table was locked for longer than {LOCK_SECONDS} s; try again",
}
