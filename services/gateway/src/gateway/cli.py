"""The command `gateway`."""

import argparse
import asyncio
import logging
import sys

import httpx

from gateway.keys.fetch import FetchError
from gateway.service import key_fetcher, open_gateway
from gateway.settings import Settings
from runtime import logs, settings
from runtime.serve import Listeners, run


def main() -> int:
    """Run one command and return its exit code: 2 where a setting is wrong."""
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="Public gateway: verifies JWTs, applies rate limits, signs the user and forwards.",
        epilog="Settings come from the environment as GATEWAY_…; the README lists them.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve until SIGTERM")
    commands.add_parser("check", help="check the settings and that the provider's keys can be had, then exit")
    command = parser.parse_args().command
    loaded = settings.load(Settings)
    return serve(loaded) if command == "serve" else asyncio.run(check(loaded))


def serve(loaded: Settings) -> int:
    logs.configure("gateway", loaded.log_level)
    if loaded.redis_url is None:
        logging.getLogger("gateway.limits").warning("no GATEWAY_REDIS_URL: limits hold for each process alone")
    listeners = Listeners(loaded.host, loaded.port, loaded.admin_port, loaded.drain_seconds, loaded.keepalive_seconds)
    return run(lambda: open_gateway(loaded), listeners)


async def check(loaded: Settings) -> int:
    """Say whether the gateway could serve with these settings."""
    print("settings: good")
    async with httpx.AsyncClient() as client:
        try:
            fetched = await key_fetcher(client, loaded).fetch(None)
        except FetchError as error:
            print(f"keys of {loaded.issuer}: {error}", file=sys.stderr)
            return 1
    print(f"keys of {loaded.issuer}: {', '.join(sorted(fetched.keys or {}))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
