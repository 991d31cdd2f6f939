"""The console script `todos`."""

import argparse
import asyncio
import functools
import sys
from collections.abc import Iterable, Sequence

from runtime import logs
from runtime.serve import Listeners, StartRefusedError, run
from runtime.settings import load
from todos.app import open_service
from todos.schema.check import check
from todos.settings import DatabaseSettings, MigrateSettings, PurgeSettings, ServeSettings

KEEPALIVE_SECONDS = 75
"""Longer than the gateway keeps an idle connection, so that it is never this side that hangs up."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    parser = argparse.ArgumentParser(prog="todos", description="The private todo service.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, command, summary, description in _COMMANDS:
        subparser = commands.add_parser(name, help=summary, description=description)
        subparser.set_defaults(command=command)
    sys.exit(parser.parse_args(arguments).command())


def _serve() -> int:
    settings = load(ServeSettings)
    logs.configure("todos", settings.log_level)
    listeners = Listeners(
        host=settings.host,
        port=settings.port,
        admin_port=settings.admin_port,
        drain_seconds=settings.drain_seconds,
        keepalive_seconds=KEEPALIVE_SECONDS,
    )
    return run(functools.partial(open_service, settings), listeners)


def _check() -> int:
    settings = load(DatabaseSettings)
    try:
        fault = asyncio.run(check(settings.database_url))
    except StartRefusedError as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 2
    if fault is not None:
        print(f"database at {fault}", file=sys.stderr)
        return 1
    print("role and schema are in order")
    return 0


def _migrate() -> int:
    # serving has no use for Alembic, whose import takes longer than all the rest of the start
    from todos.schema.migrate import MigrationError, migrate  # noqa: PLC0415

    return _job("migrate", migrate(load(MigrateSettings)), MigrationError)


def _purge() -> int:
    from todos.schema.purge import PurgeError, purge  # noqa: PLC0415 - serving has no use for it

    return _job("purge", purge(load(PurgeSettings)), PurgeError)


def _job(name: str, progress: Iterable[str], failure: type[Exception]) -> int:
    try:
        for line in progress:
            print(line, flush=True)
    except failure as error:
        print(f"todos {name}: {error}", file=sys.stderr)
        return 1
    return 0


_COMMANDS = (
    (
        "serve",
        _serve,
        "serve until SIGTERM",
        (
            "Serve until SIGTERM, then drain. Reads TODOS_DATABASE_URL, TODOS_IDENTITY_KEYS and, with defaults, "
            "TODOS_HOST, TODOS_PORT, TODOS_ADMIN_PORT, TODOS_LOG_LEVEL, TODOS_DRAIN_SECONDS, TODOS_POOL_SIZE and "
            "TODOS_STATEMENT_TIMEOUT (seconds). Exits 2 where settings are wrong, or where the database role could "
            "get around row-level security."
        ),
    ),
    (
        "check",
        _check,
        "say whether the database is fit to serve from",
        (
            "Look at the role and the schema that TODOS_DATABASE_URL leads to. Exits 0 where serve would serve, 1 "
            "where it would wait, 2 where it would refuse."
        ),
    ),
    (
        "migrate",
        _migrate,
        "bring the schema up to date",
        (
            "Bring the schema up to date as the owner (TODOS_MIGRATION_DATABASE_URL, straight to the server and past "
            "any pooler), and grant the role of TODOS_DATABASE_URL what serving takes, and that of "
            "TODOS_MAINTENANCE_DATABASE_URL, where it is set, what purging takes. Any number may run at once."
        ),
    ),
    (
        "purge",
        _purge,
        "delete for good what was deleted long ago",
        (
            "Delete for good the todos that were deleted TODOS_TOMBSTONE_DAYS days ago (90), and idempotency records "
            "past their 24 hours, in batches, as the role of TODOS_MAINTENANCE_DATABASE_URL. A job to run once a day; "
            "it may be run again at any time, and any number may run at once. Exits 0 when all is done, 1 where the "
            "database could not be used, 2 where settings are wrong."
        ),
    ),
)
