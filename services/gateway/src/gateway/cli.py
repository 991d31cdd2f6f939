"""The command `gateway`."""

import argparse
import asyncio
import logging
import sys
import time
from datetime import UTC, datetime

import httpx
from redis.exceptions import RedisError

from gateway.keys.jwks_fetch import JwksFetchError
from gateway.limits.redis_limits import redis_client
from gateway.limits.revocation import Revocation, revoke
from gateway.settings import Issuer, Settings
from gateway.wiring import jwks_fetcher, open_gateway
from runtime import logs, settings
from runtime.serve import Listeners, run


def main() -> int:
    """Run one command and return its exit code: 2 where a setting or an argument is wrong."""
    arguments = _parser().parse_args()
    loaded = settings.load(Settings)
    match arguments.command:
        case "serve":
            return _serve(loaded)
        case "check":
            return asyncio.run(_check(loaded))
        case _:
            return asyncio.run(_revoke(loaded, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="Public gateway: verifies JWTs, applies rate limits, signs the user and forwards.",
        epilog="Settings come from the environment as GATEWAY_…; the README lists them.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve until SIGTERM")
    commands.add_parser("check", help="check the settings and that every issuer's keys can be had, then exit")
    revoking = commands.add_parser(
        "revoke",
        help="end a user's tokens before they expire",
        description="End one token of a user, or every token issued to the user until now. Every gateway on the "
        "same Redis refuses it from its next request on.",
    )
    revoking.add_argument("--sub", required=True, help="the user, as the user claim names them")
    revoking.add_argument("--jti", help="one token, by its jti; without it, all of the user's until now")
    revoking.add_argument("--issuer", help="whose user it is; needed where several issuers are trusted")
    return parser


def _serve(loaded: Settings) -> int:
    logs.configure("gateway", loaded.log_level)
    if loaded.redis_url is None:
        logging.getLogger("gateway.limits").warning("no GATEWAY_REDIS_URL: limits hold for each process alone")
    listeners = Listeners(loaded.host, loaded.port, loaded.admin_port, loaded.drain_seconds, loaded.keepalive_seconds)
    return run(lambda: open_gateway(loaded), listeners)


async def _check(loaded: Settings) -> int:
    """Say whether the gateway could serve with these settings."""
    print("settings: good")
    code = 0
    async with httpx.AsyncClient() as client:
        for issuer in loaded.trusted_issuers:
            try:
                fetched = await jwks_fetcher(client, issuer, allow_http=loaded.allow_http_jwks).fetch(None)
            except JwksFetchError as error:
                print(f"keys of {issuer.issuer}: {error}", file=sys.stderr)
                code = 1
            else:
                print(f"keys of {issuer.issuer}: {', '.join(sorted(fetched.keys or {}))}")
    return code


async def _revoke(loaded: Settings, arguments: argparse.Namespace) -> int:
    issuer = _issuer_of(loaded, arguments.issuer)
    if issuer is None:
        print("--issuer must name one of:", *(one.issuer for one in loaded.trusted_issuers), file=sys.stderr)
        return 2
    if loaded.redis_url is None:
        print("GATEWAY_REDIS_URL: is required to revoke", file=sys.stderr)
        return 2
    revocation = Revocation(issuer.user_prefix + arguments.sub, arguments.jti, int(time.time()))
    redis = redis_client(loaded.redis_url.get_secret_value())
    try:
        await revoke(redis, revocation, loaded.token_max_lifetime)
    except RedisError as error:
        print(f"not revoked: Redis: {type(error).__name__}", file=sys.stderr)
        return 1
    finally:
        await redis.aclose()
    if revocation.token_id is not None:
        print("revoked: this token of the user")
    else:
        instant = datetime.fromtimestamp(revocation.until, UTC).isoformat()
        print(f"revoked: every token of the user issued until {instant}")
    return 0


def _issuer_of(loaded: Settings, name: str | None) -> Issuer | None:
    issuers = loaded.trusted_issuers
    if name is None:
        return issuers[0] if len(issuers) == 1 else None
    return next((issuer for issuer in issuers if issuer.issuer == name), None)


if __name__ == "__main__":
    sys.exit(main())
