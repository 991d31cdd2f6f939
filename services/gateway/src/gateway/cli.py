"""The console script `gateway`."""

import argparse
import asyncio
import functools
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.explain import MAX_INPUT_BYTES, explain
from gateway.issuer_settings import Issuer, IssuerSettings
from gateway.keys.jwks import KeySet, canonical
from gateway.keys.jwks_fetch import JwksFetchError, jwks_client
from gateway.limits.redis_check import examine
from gateway.limits.redis_connection import RedisError
from gateway.limits.redis_url import RedisServer
from gateway.limits.revocation import Revocation, last_second_to_revoke, revoke
from gateway.settings import RevokeSettings, ServeSettings
from gateway.wiring import jwks_fetcher, open_gateway
from runtime import cli


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    description = "Public gateway: verifies JWTs, applies rate limits, signs the user and forwards."
    return cli.main("gateway", description, COMMANDS, arguments)


def _serve(settings: ServeSettings, _arguments: argparse.Namespace) -> int:
    open_service = functools.partial(open_gateway, settings)
    return cli.serve("gateway", settings, open_service, keepalive_seconds=settings.keepalive_seconds)


def _check(settings: ServeSettings, _arguments: argparse.Namespace) -> int:
    print("settings: good")
    return asyncio.run(_check_servers(settings))


def _explain(settings: ServeSettings, _arguments: argparse.Namespace) -> int:
    if sys.stdin.isatty():
        print("Paste a token, then press Enter and Ctrl-D.", file=sys.stderr)
    return asyncio.run(explain(settings, sys.stdin.buffer.read(MAX_INPUT_BYTES)))


def _revoke(settings: RevokeSettings, arguments: argparse.Namespace) -> int:
    issuer = _issuer_of(settings, arguments.issuer)
    if issuer is None:
        print("--issuer must name one of:", *(one.issuer for one in settings.trusted_issuers), file=sys.stderr)
        return 2
    try:
        user_id = settings.user_ids(issuer).of(arguments.sub)
    except ValueError as error:
        print(f"--sub: {error}", file=sys.stderr)
        return 2
    until = last_second_to_revoke(time.time(), settings.leeway)
    return asyncio.run(_revoke_at(settings, Revocation(user_id, arguments.jti, until)))


async def _check_servers(settings: ServeSettings) -> int:
    return max(await _check_keys(settings), await _check_redis(settings.redis_url))


async def _check_keys(settings: ServeSettings) -> int:
    code = 0
    async with jwks_client() as client:
        for issuer in settings.trusted_issuers:
            try:
                fetched = await jwks_fetcher(client, issuer, allow_http=settings.allow_http_jwks).fetch(None)
            except JwksFetchError as error:
                print(f"keys of {issuer.issuer}: {error}", file=sys.stderr)
                code = 1
                continue
            keys = fetched.keys or KeySet()
            print(f"keys of {issuer.issuer}: {', '.join(sorted(kid or 'one without an id' for kid in keys.kids))}")
            if keys.algorithms.isdisjoint(map(canonical, issuer.algorithms)):
                print(f"keys of {issuer.issuer}: {_unfit(keys, issuer)}", file=sys.stderr)
                code = 1
    return code


def _unfit(keys: KeySet, issuer: Issuer) -> str:
    fitting, allowed = ", ".join(sorted(keys.algorithms)), ", ".join(issuer.algorithms)
    return f"none fits the algorithms allowed ({allowed}): this issuer has keys for {fitting} only"


async def _check_redis(server: RedisServer | None) -> int:
    if server is None:
        print("no GATEWAY_REDIS_URL: limits hold for each process alone")
        return 0
    try:
        report = await examine(server)
    except RedisError as error:
        print(f"Redis at {server.report(error)}", file=sys.stderr)
        return 1
    print(f"Redis at {server.report(f'{report.version}, runs the script of the limits')}")
    for warning in report.warnings:
        print(f"Redis at {server.report(warning)}", file=sys.stderr)
    return 0


async def _revoke_at(settings: RevokeSettings, revocation: Revocation) -> int:
    try:
        await revoke(settings.redis_url, revocation)
    except RedisError as error:
        print(f"not revoked: Redis at {settings.redis_url.report(error)}", file=sys.stderr)
        return 1
    if revocation.token_id is not None:
        print("revoked: this token of the user")
    else:
        instant = datetime.fromtimestamp(revocation.until, UTC).isoformat()
        print(f"revoked: every token of the user issued until {instant}")
    return 0


def _issuer_of(settings: IssuerSettings, name: str | None) -> Issuer | None:
    issuers = settings.trusted_issuers
    if name is None:
        return issuers[0] if len(issuers) == 1 else None
    return next((issuer for issuer in issuers if name in issuer.all_names), None)


def _add_revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sub", required=True, help="the user, as the user claim names them")
    parser.add_argument("--jti", help="one token, by its jti; without it, all of the user's until now")
    parser.add_argument("--issuer", help="whose user it is; needed where several issuers are trusted")


COMMANDS = (
    cli.command(
        "serve",
        ServeSettings,
        _serve,
        summary="serve until SIGTERM",
        description="Serve until SIGTERM, then drain.",
    ),
    cli.command(
        "check",
        ServeSettings,
        _check,
        summary="say whether serve could serve",
        description="Check the settings of serve, fetch the keys of every issuer, and run the limits' script in Redis. "
        "Exits with 1 where a set of keys cannot be fetched or Redis cannot be used.",
    ),
    cli.command(
        "explain",
        ServeSettings,
        _explain,
        summary="say why a token is accepted or refused",
        description="Read a token from standard input, with or without Bearer before it, and print each rule that the "
        "gateway applies to it, with what the token has, what is wanted and the verdict. It fetches keys and looks for "
        "revocations, charges no limit and logs nothing. Exits with 1 where the token is refused.",
    ),
    cli.command(
        "revoke",
        RevokeSettings,
        _revoke,
        summary="end a user's tokens before they expire",
        description="End one token of a user, or every token issued to the user until now. Every gateway on the same "
        "Redis refuses it from its next request on.",
        add_arguments=_add_revoke_arguments,
    ),
)
