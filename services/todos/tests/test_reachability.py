"""Whatever keeps the service from its database is named: where, and what kind of failure, never a secret."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from pydantic import SecretStr

from devtools.fixtures import Database
from devtools.postgres import APP, LocalPostgres
from devtools.testing.unreachable import (
    ISSUER,
    UNRESOLVABLE,
    answers,
    hangs_up,
    refusing_port,
    self_signed,
    server,
    silent_port,
    tls,
)
from runtime.reachability import CLOSED, NO_ROUTE, NO_TLS, REFUSED, TIMED_OUT, UNRESOLVED
from services.todos.tests.assertions import assert_unavailable
from services.todos.tests.console import todos
from services.todos.tests.serving import KEYS_TEXT, migrate_database, running
from todos.database.reachability import fault_of
from todos.schema import check as checking
from todos.schema.check import check

SECRET = "5ecret"
PASSWORD_REFUSED = f"the password of role {APP} is refused"
HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def url(port: int, host: str = "127.0.0.1", options: str = "") -> str:
    return f"postgresql://{APP}:{SECRET}@{host}:{port}/todos?{options}"


async def reason(database_url: str) -> str:
    fault = await check(SecretStr(database_url))
    assert fault is not None
    assert (fault.host, fault.port) == (urlsplit(database_url).hostname, urlsplit(database_url).port)
    assert SECRET not in str(fault)
    return fault.reason


def agrees_to_tls(connection: socket.socket) -> None:
    assert connection.recv(8)
    connection.sendall(b"S")


def agrees_to_tls_and_speaks_http(connection: socket.socket) -> None:
    agrees_to_tls(connection)
    answers(HTTP)(connection)


@pytest.mark.parametrize(
    ("listening", "options", "expected"),
    [
        (refusing_port, "", REFUSED),
        (lambda: server(hangs_up), "", CLOSED),
        (lambda: server(hangs_up), "sslmode=disable", CLOSED),
        (lambda: server(answers(HTTP)), "sslmode=disable", "it is no PostgreSQL server"),
        (lambda: server(answers(HTTP)), "sslmode=require", "it is no PostgreSQL server"),
        (lambda: server(answers(b"N")), "sslmode=require", NO_TLS),
        (lambda: server(agrees_to_tls_and_speaks_http), "sslmode=require", NO_TLS),
    ],
)
async def test_a_connection_that_cannot_be_made_is_named_by_its_kind(
    listening: Callable[[], AbstractContextManager[int]], options: str, expected: str
) -> None:
    with listening() as port:
        assert await reason(url(port, options=options)) == expected


async def test_a_name_that_cannot_be_resolved_is_named() -> None:
    assert await reason(url(5432, UNRESOLVABLE)) == UNRESOLVED


async def test_a_server_that_says_nothing_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "CONNECT_SECONDS", 2)
    with silent_port() as port:
        assert await reason(url(port)) == TIMED_OUT


async def test_a_certificate_that_is_not_trusted_is_named_with_its_issuer(tmp_path: Path) -> None:
    with server(tls(self_signed("localhost", tmp_path), before=agrees_to_tls)) as port:
        found = await reason(url(port, "localhost", "sslmode=verify-full&sslrootcert=system"))
    assert found.startswith(f"its certificate, issued by {ISSUER}, is not trusted: ")


async def test_a_certificate_for_another_name_and_missing_roots_are_named(tmp_path: Path) -> None:
    certificate = self_signed("elsewhere.example", tmp_path)
    with server(tls(certificate, before=agrees_to_tls)) as port:
        options = f"sslmode=verify-full&sslrootcert={certificate}"
        assert await reason(url(port, "localhost", options)) == "its certificate is for another host name"
        absent = f"sslmode=verify-full&sslrootcert={tmp_path / 'absent.pem'}"
        assert await reason(url(port, options=absent)) == "the root certificates of sslrootcert cannot be read"


def with_password(database_url: str, password: str, role: str = APP) -> str:
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{role}{password and ':' + password}@{parts.hostname}:{parts.port}"))


async def test_what_the_server_refuses_is_named_with_role_and_database(database: Database) -> None:
    assert await reason(with_password(database.app_url, SECRET)) == PASSWORD_REFUSED
    no_password = await reason(with_password(database.app_url, ""))
    assert no_password == "it asks for a password, and the URL has none"
    absent = database.server.app_url("recovery")
    assert await reason(absent) == "there is no database recovery"


@pytest.fixture
def superuser(own_postgres: Callable[[], LocalPostgres]) -> Iterator[tuple[LocalPostgres, psycopg.Connection]]:
    started = own_postgres()
    with psycopg.connect(started.superuser_url("postgres"), autocommit=True) as connection:
        yield started, connection


async def test_what_the_server_does_not_allow_is_named(superuser: tuple[LocalPostgres, psycopg.Connection]) -> None:
    started, connection = superuser
    app = started.app_url()
    for forbid, allow, expected in (
        ("ALTER ROLE todos_app NOLOGIN", "ALTER ROLE todos_app LOGIN", f"role {APP} may not log in"),
        (
            "REVOKE CONNECT ON DATABASE todos FROM PUBLIC",
            "GRANT CONNECT ON DATABASE todos TO PUBLIC",
            f"role {APP} may not connect to database todos",
        ),
        (
            "ALTER ROLE todos_app CONNECTION LIMIT 0",
            "ALTER ROLE todos_app CONNECTION LIMIT -1",
            "the server takes no more connections",
        ),
        (
            "ALTER DATABASE todos ALLOW_CONNECTIONS false",
            "ALTER DATABASE todos ALLOW_CONNECTIONS true",
            "the server is starting, stopping or recovering",
        ),
    ):
        connection.execute(forbid.encode())
        assert await reason(app) == expected
        connection.execute(allow.encode())


async def test_the_rules_of_pg_hba_are_named(superuser: tuple[LocalPostgres, psycopg.Connection]) -> None:
    started, connection = superuser
    row = connection.execute("SHOW hba_file").fetchone()
    assert row
    file = Path(row[0])
    for rules, role, expected in (
        ("host all all all trust", "absent", "there is no role absent"),
        ("host all postgres all trust", APP, f"does not let role {APP} connect to database todos from here"),
        (f"host all {APP} all reject", APP, f"does not let role {APP} connect to database todos from here"),
    ):
        file.write_text(f"{rules}\n")  # noqa: ASYNC240 - nothing else runs
        connection.execute("SELECT pg_reload_conf()")
        tried = with_password(started.app_url(), SECRET, role)
        # the postmaster reads its file some moments after the call
        while (found := await reason(tried)) in (PASSWORD_REFUSED, f"the password of role {role} is refused"):
            pass
        assert expected in found


def _take_connections(started: LocalPostgres, holders: ExitStack) -> None:
    while True:
        holders.enter_context(closing(psycopg.connect(started.owner_url())))


async def test_a_server_without_a_free_connection_is_named(
    superuser: tuple[LocalPostgres, psycopg.Connection],
) -> None:
    started, _ = superuser
    with ExitStack() as holders:
        with pytest.raises(psycopg.OperationalError, match="slots"):
            _take_connections(started, holders)
        assert await reason(started.app_url()) == "the server takes no more connections"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("connection is bad: no route to 10.0.0.1 failed: No route to host", NO_ROUTE),
        ("consuming input failed: SSL SYSCALL error: Connection reset by peer", CLOSED),
        ("the connection is lost", CLOSED),
        (
            "connection failed: FATAL:  the database system is starting up",
            "the server is starting, stopping or recovering",
        ),
        ("connection failed: FATAL:  SASL authentication failed", PASSWORD_REFUSED),
        ("connection failed: FATAL:  no such database: todos", "there is no database todos"),
        ("connection failed: FATAL:  no more connections allowed", "the server takes no more connections"),
        ("connection failed: FATAL:  Kein Zugriff auf »5ecret«", f"it refuses role {APP}, and its log says why"),
        ("something 5ecret else", "failed in an unknown way (OperationalError)"),
        (
            'connection failed: connection to server at "timed out", port 1 failed: FATAL:  no such user',
            PASSWORD_REFUSED,
        ),
    ],
)
def test_other_words_of_libpq_servers_and_poolers_are_understood_or_withheld(text: str, expected: str) -> None:
    assert fault_of(psycopg.OperationalError(text), url(5432)).reason == expected


def test_of_several_hosts_the_last_is_named() -> None:
    several = f"postgresql://{APP}:{SECRET}@one.invalid:1,two.invalid:2/todos"
    with pytest.raises(psycopg.OperationalError) as failed:
        psycopg.connect(several)
    assert str(fault_of(failed.value, several)) == f"two.invalid:2: {UNRESOLVED}"


async def test_while_serving_every_failed_connection_and_every_failed_request_is_named(
    own_postgres: Callable[[], LocalPostgres], caplog: pytest.LogCaptureFixture
) -> None:
    started = own_postgres()
    migrate_database(started, "todos")
    async with running(started.app_url()) as service:
        alice = service.user()
        await alice.create()
        started.kill()
        caplog.set_level(logging.WARNING)
        for _ in range(2):
            assert_unavailable(await alice.get("/v1/todos"))
    found = {(record.message, record.fields["reason"]) for record in caplog.records if hasattr(record, "fields")}
    assert ("cannot connect to the database", REFUSED) in found
    assert ("database unavailable", "no connection became free in time") in found
    assert all(record.fields["port"] == started.port for record in caplog.records if hasattr(record, "fields"))


def test_every_command_names_it_in_one_line() -> None:
    with refusing_port() as port:
        database_url = url(port)
        for command, settings in (
            ("check", {"database_url": database_url, "identity_keys": KEYS_TEXT}),
            ("migrate", {"database_url": database_url, "migration_database_url": database_url}),
            ("purge", {"maintenance_database_url": database_url}),
        ):
            ended = todos(command, **settings)
            assert ended.returncode == 1
            [line] = ended.stderr.splitlines()
            assert line.endswith(f"database at 127.0.0.1:{port}: {REFUSED}")
