"""The console script of a service: `SERVICE COMMAND`, where each command reads settings of its own.

Every command exits with 0 where all is well, with 1 where it cannot do its work now, and with 2 where settings or
arguments are wrong or the service refuses to start.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from pydantic_settings import BaseSettings

from runtime import logs
from runtime.build import build_of
from runtime.logs import fields
from runtime.serve import Listeners, Service, run
from runtime.settings import ListenSettings, load, setting_name
from runtime.settings_table import settings_table

log = logging.getLogger("runtime.cli")

type AddArguments = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True)
class Command:
    """A command, made by `command`; `description` follows `summary` in its own help."""

    name: str
    settings: type[BaseSettings]
    run: Callable[[argparse.Namespace], int]
    summary: str
    description: str
    add_arguments: AddArguments


def command[Settings: BaseSettings](
    name: str,
    settings: type[Settings],
    run: Callable[[Settings, argparse.Namespace], int],
    *,
    summary: str,
    description: str,
    add_arguments: AddArguments = lambda _parser: None,
) -> Command:
    """A command that loads `settings`, and passes them to `run` with its arguments; `run` returns the exit code."""
    return Command(
        name, settings, lambda arguments: run(load(settings), arguments), summary, description, add_arguments
    )


def main(service: str, description: str, commands: Sequence[Command], arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments`, or the process's own, name; returns its exit code.

    Raises:
        SystemExit: 2 for wrong arguments or settings, 0 after `--help` and `--version`.
    """
    parser = argparse.ArgumentParser(
        prog=service,
        description=description,
        epilog=f"Settings come from the environment; `{service} settings` lists them. Every command exits with 0 "
        "where all is well, 1 where it cannot do its work now, 2 where settings or arguments are wrong.",
    )
    parser.add_argument("--version", action="version", version=f"{service} {build_of(service).version}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for one in commands:
        reads = ", ".join(setting_name(one.settings, field) for field in one.settings.model_fields)
        subparser = subparsers.add_parser(
            one.name, help=one.summary, description=one.description, epilog=f"Reads {reads}."
        )
        one.add_arguments(subparser)
        subparser.set_defaults(run=one.run)
    listing = subparsers.add_parser("settings", help="list the settings as a table in Markdown")
    listing.set_defaults(run=lambda _arguments: _list_settings(commands))
    parsed = parser.parse_args(arguments)
    code: int = parsed.run(parsed)
    return code


def serve(
    service: str,
    settings: ListenSettings,
    open_service: Callable[[], AbstractAsyncContextManager[Service]],
    *,
    keepalive_seconds: int,
) -> int:
    """Log to standard output, the version first, and serve until SIGTERM; returns the exit code of `run`."""
    logs.configure(service, settings.log_level)
    build = build_of(service)
    log.info("starting", extra=fields(version=build.version, python=build.python))
    listeners = Listeners(settings.host, settings.port, settings.admin_port, settings.drain_seconds, keepalive_seconds)
    return run(open_service, listeners)


def _list_settings(commands: Sequence[Command]) -> int:
    print(settings_table({one.name: one.settings for one in commands}))
    return 0
