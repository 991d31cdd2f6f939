"""Round trips, writers in line, and a database that comes and goes."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
import uvloop
from psycopg.errors import DeadlockDetected
from pydantic import SecretStr

from devtools.fixtures import Database as EmptyDatabase
from devtools.postgres import LocalPostgres
from devtools.testing.stalls import hold_up
from runtime.logs import JsonFormatter
from runtime.problems import ProblemError
from runtime.serve import StartRefusedError
from services.todos.tests.assertions import assert_problem, assert_unavailable, until_available
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, Running, migrate_database, running, small_pool
from services.todos.tests.sessions import session_of, todos_of
from todos.database import user_session
from todos.database.command import Command
from todos.database.pool import open_database
from todos.database.user_session import Transaction
from todos.domain.fields import TodoFields
from todos.schema.check import check, open_when_fit
from todos.schema.models import TABLES
from todos.store import statements
from todos.store.repository import not_found


async def test_reads_creations_and_deletions_are_one_round_trip_and_changes_two(database_url: str) -> None:
    async with relay(database_url) as counted, running(counted.url, pool_size=1) as service:
        alice = service.user()
        todo = await alice.create()
        target, new = f"/v1/todos/{todo['id']}", f"/v1/todos/{uuid4()}"
        title = {"title": "x"}
        steps: list[tuple[str, str, Any, dict[str, str], int, int]] = [
            ("GET", "/v1/todos", None, {}, 200, 1),
            ("GET", "/v1/todos?completed=false&tag=a&q=x&sort=-title&limit=1", None, {}, 200, 1),
            ("GET", target, None, {}, 200, 1),
            ("GET", target, None, {"if-none-match": "*"}, 304, 1),
            ("GET", f"/v1/todos/{uuid4()}", None, {}, 404, 1),
            ("POST", "/v1/todos", title, {}, 201, 1),
            ("PUT", new, title, {}, 201, 2),
            ("PUT", new, title, {}, 200, 2),
            ("PUT", new, title, {"if-match": '"1"'}, 412, 2),
            ("PATCH", target, title, {}, 200, 2),
            ("PATCH", f"/v1/todos/{uuid4()}", title, {}, 404, 2),
            ("DELETE", target, None, {"if-match": '"1"'}, 412, 1),
            ("DELETE", target, None, {}, 204, 1),
            ("DELETE", target, None, {}, 404, 1),
            ("POST", "/v1/todos", {}, {}, 422, 0),
            ("GET", "/v1/todos/nope", None, {}, 404, 0),
        ]
        for method, path, body, headers, status, trips in steps:
            before = counted.turns
            answer = await alice.send(method, path, json_body=body, headers=headers)
            assert answer.status_code == status
            assert counted.turns - before == trips, (method, path, status)


async def test_eight_writers_of_one_user_get_numbers_without_gap_or_double(database_url: str) -> None:
    async with running(database_url, pool_size=8) as service:
        alice = service.user()
        shared = f"/v1/todos/{uuid4()}"

        async def write(writer: int) -> list[int]:
            versions = []
            for turn in range(6):
                created = await alice.create()
                own = f"/v1/todos/{created['id']}"
                patched = await alice.send("PATCH", own, json_body={"order": turn})
                put = await alice.send("PUT", shared, json_body={"title": f"{writer}"})
                assert (patched.status_code, put.status_code in (200, 201)) == (200, True)
                versions += [created["version"], patched.json()["version"], put.json()["version"]]
                assert (await alice.send("DELETE", own)).status_code == 204
            return versions

        taken = sorted(version for versions in await asyncio.gather(*map(write, range(8))) for version in versions)
        deleted = [todo["version"] for todo in (await alice.get("/v1/todos?deleted=true&limit=200")).json()]
        everything = sorted(taken + deleted)
        assert everything == list(range(everything[0], everything[0] + 8 * 6 * 4))
        assert len((await alice.get("/v1/todos")).json()) == 1


async def test_first_writes_of_a_new_user_at_once_are_all_taken(database_url: str) -> None:
    async with running(database_url, pool_size=8) as service:
        alice = service.user()
        target = f"/v1/todos/{uuid4()}"
        puts = [alice.send("PUT", target, json_body={"title": str(number)}) for number in range(6)]
        posts = [alice.send("POST", "/v1/todos", json_body={"title": "x"}) for _ in range(2)]
        answers = await asyncio.gather(*puts, *posts)
        assert sorted(answer.status_code for answer in answers[:6]) == [200] * 5 + [201]
        assert len((await alice.get("/v1/todos")).json()) == 3


async def test_writers_at_the_quota_get_past_it_never(database_url: str, superuser: psycopg.Connection) -> None:
    async with running(database_url, pool_size=8) as service:
        alice = service.user()
        await alice.create()
        superuser.execute("UPDATE user_state SET live_count = 9997 WHERE user_id = %s", [alice.user])
        posts = [alice.send("POST", "/v1/todos", json_body={"title": "x"}) for _ in range(4)]
        puts = [alice.send("PUT", f"/v1/todos/{uuid4()}", json_body={"title": "x"}) for _ in range(4)]
        answers = await asyncio.gather(*posts, *puts)
        assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
        counted = superuser.execute("SELECT live_count FROM user_state WHERE user_id = %s", [alice.user]).fetchone()
        assert counted == (10_000,)


async def test_a_lost_transaction_is_tried_again_and_not_for_ever(database_url: str) -> None:
    url = SecretStr(database_url)
    async with open_database(url, **small_pool(statement_seconds=5)) as database:
        await open_when_fit(database, url)
        attempts = 0

        async def lose(_transaction: Transaction, times: int) -> str:
            nonlocal attempts
            attempts += 1
            if attempts <= times:
                raise DeadlockDetected
            return "done"

        entry = session_of(database, "alice")
        assert await entry.write(lambda transaction: lose(transaction, 2)) == "done"
        assert attempts == user_session.ATTEMPTS
        attempts = 0
        with pytest.raises(ProblemError) as refused:
            await entry.write(lambda transaction: lose(transaction, 3))
        assert refused.value.code == "overloaded"


async def test_connections_that_the_server_closed_are_never_used(
    service: Running, alice: Client, superuser: psycopg.Connection
) -> None:
    await asyncio.gather(*(alice.create() for _ in range(8)))
    superuser.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'todos'")
    answers = await asyncio.gather(*(alice.send("POST", "/v1/todos", json_body={"title": "x"}) for _ in range(8)))
    assert [answer.status_code for answer in answers] == [201] * 8


async def test_a_read_whose_connection_breaks_is_sent_once_more_and_a_write_is_not(database_url: str) -> None:
    async with relay(database_url) as cutting, running(cutting.url, pool_size=2) as service:
        alice = service.user()
        todo = await alice.create()
        cutting.cut = 1
        assert (await alice.get(f"/v1/todos/{todo['id']}")).json() == todo
        cutting.cut = 1
        assert_unavailable(await alice.send("POST", "/v1/todos", json_body={"title": "x"}))
        assert (await until_available(alice)).json() == [todo]


async def test_a_statement_that_waits_too_long_is_given_up_and_nothing_is_written(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with running(database_url, pool_size=1, statement_timeout=0.1) as service:
        alice = service.user()
        todo = await alice.create()
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            for method in ("PUT", "PATCH", "DELETE"):
                body = {"title": "x"} if method != "DELETE" else None
                answer = await alice.send(method, f"/v1/todos/{todo['id']}", json_body=body)
                assert_problem(answer, 503, "database_timeout")
            assert_problem(await alice.send("POST", "/v1/todos", json_body={"title": "x"}), 503, "database_timeout")
        assert (await alice.get("/v1/todos")).json() == [todo]


@pytest.fixture
def all_logs(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything logged, as it would be written."""
    for noisy in ("psycopg", "psycopg.pool", "asyncio", "uvicorn", "httpx", "httpcore"):
        caplog.set_level(logging.ERROR, noisy)
    caplog.set_level(logging.DEBUG)
    formatter = JsonFormatter("todos")
    return lambda: "\n".join(formatter.format(record) for record in caplog.records)


async def test_a_killed_database_is_503_and_its_return_needs_no_restart(
    own_postgres: Callable[[], LocalPostgres], all_logs: Callable[[], str]
) -> None:
    server = own_postgres()
    server.create_database("x")
    migrate_database(server, "x")
    async with running(server.app_url("x")) as service:
        alice = service.user()
        todo = await alice.create()
        server.kill()
        for _ in range(2):
            answer = await alice.get("/v1/todos")
            assert_unavailable(answer)
            assert str(server.port) not in answer.text
        assert_unavailable(await alice.send("POST", "/v1/todos", json_body={"title": "lost"}))
        assert service.readiness() == {"database": True}
        server.start()
        assert (await until_available(alice)).json() == [todo]
        password = psycopg.conninfo.conninfo_to_dict(server.app_url("x"))["password"]
        assert str(password) not in all_logs()
        assert "todos_app" not in all_logs()
        assert f'"port": {server.port}, "reason": "connection refused"' in all_logs()


async def test_a_frozen_database_is_503_within_the_time_a_statement_has(
    own_postgres: Callable[[], LocalPostgres],
) -> None:
    server = own_postgres()
    server.create_database("x")
    migrate_database(server, "x")
    async with running(server.app_url("x"), statement_timeout=0.1, pool_size=1) as service:
        alice = service.user()
        await alice.create()
        server.freeze()
        assert_unavailable(await alice.get("/v1/todos"))
        server.thaw()
        assert len((await until_available(alice)).json()) == 1


async def test_a_database_that_freezes_before_a_refused_write_is_undone_holds_up_no_answer(
    own_postgres: Callable[[], LocalPostgres],
) -> None:
    server = own_postgres()
    server.create_database("x")
    migrate_database(server, "x")
    url = SecretStr(server.app_url("x"))
    async with open_database(url, **small_pool(statement_seconds=0.1)) as database:
        await open_when_fit(database, url)

        async def refuse(transaction: Transaction) -> None:
            await transaction.send(Command(statements.begin_state))
            server.freeze()
            raise not_found()

        writing = asyncio.create_task(session_of(database, "alice").write(refuse))
        answered, _ = await asyncio.wait({writing}, timeout=10)
        server.thaw()
        with pytest.raises(ProblemError) as refused:
            await writing
        assert refused.value.code == "database_unavailable", "that it was received could not be recorded"
        assert answered


def test_what_the_database_answered_while_the_loop_was_held_up_counts(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_session, "GRACE_SECONDS", 0)
    url = SecretStr(database_url)

    async def stall(transaction: Transaction) -> None:
        sending = asyncio.ensure_future(transaction.send(Command(statements.begin_state)))
        await hold_up(0.3)
        await sending

    async def write_behind_a_stall() -> None:
        async with open_database(url, **small_pool(statement_seconds=0.2)) as database:
            await open_when_fit(database, url)
            await session_of(database, "alice").write(stall)

    uvloop.run(write_behind_a_stall())


async def test_no_word_of_the_database_leaves_the_service(database: EmptyDatabase, all_logs: Callable[[], str]) -> None:
    migrate_database(database.server, database.name)
    async with running(database.app_url) as service:
        alice = service.user()
        todo = await alice.create(title="confidential")
        with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
            superuser.execute("ALTER TABLE todo RENAME COLUMN description TO renamed")
        for answer in (
            await alice.get("/v1/todos"),
            await alice.get(f"/v1/todos/{todo['id']}"),
            await alice.send("POST", "/v1/todos", json_body={"title": "confidential"}),
            await alice.send("PATCH", f"/v1/todos/{todo['id']}", json_body={"title": "confidential"}),
        ):
            assert answer.status_code == 500
            assert answer.json()["code"] == "internal"
            assert answer.headers["content-type"] == "application/problem+json"
            assert "description" not in answer.text
        logged = all_logs()
        assert "UndefinedColumn" in logged
        for word in ("SELECT", "todo.description", "confidential", alice.user, "user_state", "does not exist"):
            assert word not in logged


async def test_a_service_without_a_schema_waits_for_it_unready(database: EmptyDatabase) -> None:
    async with running(database.app_url, wait=False) as service:
        alice = service.user()
        assert service.readiness() == {"database": False}
        assert_unavailable(await alice.get("/v1/todos"))
        assert_unavailable(await alice.send("POST", "/v1/todos", json_body={"title": "x"}))
        migrate_database(database.server, database.name)
        await service.ready.wait()
        assert service.readiness() == {"database": True}
        assert (await alice.get("/v1/todos")).json() == []


async def test_a_service_without_a_database_waits_for_it_unready(own_postgres: Callable[[], LocalPostgres]) -> None:
    server = own_postgres()
    server.create_database("x")
    migrate_database(server, "x")
    url = server.app_url("x")
    server.stop()
    async with running(url, wait=False) as service:
        assert_unavailable(await service.user().get("/v1/todos"))
        server.start()
        await service.ready.wait()
        assert (await service.user().get("/v1/todos")).json() == []


def _role(database: EmptyDatabase, *statements: str) -> str:
    """A fresh role with every right that serving takes, and then what `statements` do to it; `{}` is its name."""
    name = f"role_{uuid4().hex}"
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        superuser.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(TABLES)} TO {name}")
        superuser.execute(f"GRANT SELECT, UPDATE ON erasure TO {name}")
        for statement in statements:
            superuser.execute(statement.format(name).encode())
    parts = urlsplit(database.app_url)
    return urlunsplit(parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}"))


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["ALTER ROLE {} SUPERUSER"], "superuser"),
        (["GRANT postgres TO {}"], "superuser"),
        (["GRANT postgres TO {} WITH INHERIT FALSE"], "superuser"),
        (["ALTER ROLE {} BYPASSRLS"], "BYPASSRLS"),
        (["CREATE ROLE group_{0} BYPASSRLS", "GRANT group_{0} TO {0}"], "BYPASSRLS"),
        (["ALTER TABLE todo OWNER TO {}"], "owns the table todo"),
        (["ALTER TABLE user_state OWNER TO {}"], "owns the table user_state"),
        (["GRANT todos_owner TO {}"], "member of its owner"),
        (["ALTER SCHEMA public OWNER TO {}"], "owns the schema"),
        (["ALTER TABLE todo DISABLE ROW LEVEL SECURITY"], "row-level security"),
        (["ALTER TABLE user_state NO FORCE ROW LEVEL SECURITY"], "row-level security"),
        (["ALTER TABLE idempotency NO FORCE ROW LEVEL SECURITY"], "row-level security"),
        (["ALTER TABLE idempotency OWNER TO {}"], "owns the table idempotency"),
        (["ALTER TABLE erasure OWNER TO {}"], "owns the table erasure"),
    ],
)
async def test_a_role_that_could_get_around_the_walls_is_refused(
    database: EmptyDatabase, statements: list[str], reason: str
) -> None:
    migrate_database(database.server, database.name)
    url = SecretStr(_role(database, *statements))
    with pytest.raises(StartRefusedError, match=reason) as refused:
        await check(url)
    assert "secret" not in str(refused.value)
    async with open_database(url, **small_pool(statement_seconds=5)) as opened:
        with pytest.raises(StartRefusedError):
            await open_when_fit(opened, url)
        assert not opened.fit
        with pytest.raises(ProblemError) as unavailable:
            await todos_of(opened, "alice").create(TodoFields(title="x"))
        assert unavailable.value.code == "database_unavailable"


async def test_a_role_with_no_more_than_it_needs_is_taken_and_with_less_is_waited_for(database: EmptyDatabase) -> None:
    migrate_database(database.server, database.name)
    assert await check(SecretStr(_role(database))) is None
    for privilege, table in (("DELETE", "todo"), ("INSERT", "seen_signature"), ("UPDATE", "erasure")):
        missing = await check(SecretStr(_role(database, f"REVOKE {privilege} ON {table} FROM {{}}")))
        assert missing
        assert missing.reason == f"the role may not read and write the table {table}: todos migrate"
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute("ALTER TABLE todo DROP COLUMN timezone CASCADE")
    assert "older than this version" in str(await check(SecretStr(database.app_url)))


async def test_due_dates_and_times_do_not_depend_on_the_time_zone_of_the_session(
    database: EmptyDatabase,
) -> None:
    migrate_database(database.server, database.name)
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(f"ALTER DATABASE {database.name} SET timezone TO 'Pacific/Kiritimati'".encode())
        superuser.execute(f"ALTER DATABASE {database.name} SET datestyle TO 'German, DMY'".encode())
    async with running(database.app_url) as service:
        alice = service.user()
        for due in ("9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "0001-01-01", "9999-12-31"):
            todo = await alice.create(due_date=due)
            assert todo["due_date"] == due
            assert (await alice.get(f"/v1/todos/{todo['id']}")).json() == todo
        listed = (await alice.get("/v1/todos?sort=due_date&limit=1")).json()
        assert json.dumps(listed[0]["due_date"]).startswith('"0001-01-01')
        assert len((await alice.get("/v1/todos?due_after=0001-01-01&due_before=9999-12-31")).json()) == 2
