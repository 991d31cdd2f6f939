"""Whether a Redis can hold the limits, as an operator wants to know it before the first request."""

from typing import NamedTuple

from gateway.limits.policy import Policy
from gateway.limits.redis_command import CheckResult, LimitCheck, user_subject
from gateway.limits.redis_connection import RedisConnection, RedisError
from gateway.limits.redis_limits import SCRIPT
from gateway.limits.redis_url import RedisServer
from gateway.token.claims import Bearer

_KEEPS_ALL = "noeviction"


class RedisReport(NamedTuple):
    """What serves there, as `valkey 9.1.2`, and what an operator should change, a sentence each."""

    version: str
    warnings: list[str]


async def examine(server: RedisServer) -> RedisReport:
    """Log in and run the script of the limits once, on a key that expires within a second.

    Raises:
        WrongServerError: this server can never hold the limits.
        RedisError: it cannot be reached, or does not run the script.
    """
    connection = await RedisConnection.open(server)
    try:
        await _run(connection, LimitCheck("check", [Policy("check", 1, 1)]))
        warnings = await _memory_warnings(connection)
    finally:
        connection.close()
    return RedisReport(f"{connection.hello.get('server')} {connection.hello.get('version')}", warnings)


async def is_revoked(server: RedisServer, bearer: Bearer) -> bool:
    """Whether the token is revoked, by the script of the limits, which charges nothing for it.

    Raises:
        RedisError: it is not known.
    """
    connection = await RedisConnection.open(server)
    try:
        result = await _run(connection, LimitCheck(user_subject(bearer.user_id), [], bearer))
    finally:
        connection.close()
    return result.token_revoked or result.revoked_until is not None


async def _run(connection: RedisConnection, check: LimitCheck) -> CheckResult:
    keys = check.keys()
    return CheckResult.read(check, await connection.ask("EVAL", SCRIPT, len(keys), *keys, *check.arguments()))


async def _memory_warnings(connection: RedisConnection) -> list[str]:
    try:
        memory = await connection.ask("INFO", "memory")
    except RedisError as error:
        return [f"its maxmemory-policy cannot be read: {error}"]
    lines = memory.decode(errors="replace").splitlines() if isinstance(memory, bytes) else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    policy = fields.get("maxmemory_policy", _KEEPS_ALL)
    if fields.get("maxmemory", "0") == "0" or policy == _KEEPS_ALL:
        return []
    return [f"its maxmemory-policy {policy} may delete revocations and limits; set {_KEEPS_ALL}"]
