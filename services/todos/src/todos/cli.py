"""The console script `todos`."""

import argparse
import asyncio
import functools
import sys
from collections.abc import Iterable, Sequence

from runtime import cli
from runtime.serve import StartRefusedError
from todos.app import open_service
from todos.database.reachability import target_of
from todos.schema.check import check
from todos.settings import MigrateSettings, PurgeSettings, ServeSettings

KEEPALIVE_SECONDS = 75
"""Longer than the gateway keeps an idle connection, so that this side never closes one that the gateway may use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    description = "Private todo service: verifies the signed user of each request and scopes every statement by it."
    return cli.main("todos", description, COMMANDS, arguments)


def _serve(settings: ServeSettings, _arguments: argparse.Namespace) -> int:
    open_todos = functools.partial(open_service, settings)
    return cli.serve("todos", settings, open_todos, keepalive_seconds=KEEPALIVE_SECONDS)


def _check(settings: ServeSettings, _arguments: argparse.Namespace) -> int:
    print("settings: good")
    url = settings.database_url
    try:
        fault = asyncio.run(check(url))
    except StartRefusedError as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 2
    if fault is not None:
        print(f"database at {fault}", file=sys.stderr)
        return 1
    target = target_of(url.get_secret_value())
    print(f"database at {target.host}:{target.port}: role and schema are in order")
    return 0


def _migrate(settings: MigrateSettings, _arguments: argparse.Namespace) -> int:
    # serving has no use for Alembic, whose import takes longer than all the rest of the start
    from todos.schema.migrate import MigrationError, migrate  # noqa: PLC0415

    return _job("not migrated", migrate(settings), MigrationError)


def _purge(settings: PurgeSettings, _arguments: argparse.Namespace) -> int:
    from todos.schema.purge import PurgeError, purge  # noqa: PLC0415 - serving has no use for it

    return _job("not purged", purge(settings), PurgeError)


def _job(outcome: str, progress: Iterable[str], failure: type[Exception]) -> int:
    try:
        for line in progress:
            print(line, flush=True)
    except failure as error:
        print(f"{outcome}: {error}", file=sys.stderr)
        return 1
    return 0


COMMANDS = (
    cli.command(
        "serve",
        ServeSettings,
        _serve,
        summary="serve until SIGTERM",
        description="Serve until SIGTERM, then drain. Exits with 2 where the database role could get around row-level "
        "security.",
    ),
    cli.command(
        "check",
        ServeSettings,
        _check,
        summary="say whether serve could serve",
        description="Check the settings of serve, and the role and schema that TODOS_DATABASE_URL leads to. Exits with "
        "1 where serve would wait, with 2 where it would refuse to start.",
    ),
    cli.command(
        "migrate",
        MigrateSettings,
        _migrate,
        summary="bring the schema up to date",
        description="Bring the schema up to date as the owner of TODOS_MIGRATION_DATABASE_URL, then grant the role of "
        "TODOS_DATABASE_URL what serving takes, and the role of TODOS_MAINTENANCE_DATABASE_URL, where it is set, what "
        "purging takes. Any number may run at once.",
    ),
    cli.command(
        "purge",
        PurgeSettings,
        _purge,
        summary="delete for good what was deleted long ago",
        description="Delete for good the todos that were deleted TODOS_TOMBSTONE_DAYS days ago, and idempotency "
        "records past their 24 hours, in batches. Run it once a day; it may be run again at any time, and any number "
        "may run at once.",
    ),
)
