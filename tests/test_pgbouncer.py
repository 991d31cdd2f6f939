"""The todo service through a real PgBouncer in transaction mode, as Neon's pooled host is one."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from devtools.files import write_private
from devtools.fixtures import Database
from devtools.postgres import _disguise
from devtools.processes import LOOPBACK, Child, free_port, wait_until
from services.todos.tests.assertions import assert_unavailable, until_available
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, migrate_database, running
from todos.http.declared import declared_routes
from todos.http.routes import api

BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
SERVER_CONNECTIONS = 3
"""Fewer than the service's: they go from hand to hand, and from user to user."""
START_SECONDS = 15
FAULTS = ("prepared statement", "unsupported", "ERROR", "FATAL")

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(BINARY is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"),
]


class PgBouncer:
    """In front of one database, on loopback alone; clients and servers prove themselves by SCRAM."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._port = free_port()
        self._folder = folder
        self._runs = 0
        app = urlsplit(database.app_url)
        self.url = urlunsplit(app._replace(netloc=f"{app.username}:{app.password}@{LOOPBACK}:{self._port}"))
        users, settings = folder / "users.txt", folder / "pgbouncer.ini"
        write_private(users, f'"{app.username}" "{app.password}"\n')
        write_private(
            settings,
            f"""
[databases]
{database.name} = host={app.hostname} port={app.port}
[pgbouncer]
listen_addr = {LOOPBACK}
listen_port = {self._port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {SERVER_CONNECTIONS}
""",
        )
        # it refuses to run as root
        self._prefix, self._account = _disguise()
        if self._account:
            for path in (folder, users, settings):
                shutil.chown(path, self._account.uid, self._account.gid)
        self._command = [*self._prefix, str(BINARY), str(settings)]
        self.start()

    def start(self) -> None:
        self._runs += 1
        log = self._folder / f"{self._runs}.log"
        self.child = Child("PgBouncer", self._command, log, account=self._account)
        wait_until(self._answers, self.child, START_SECONDS)

    def _answers(self) -> bool:
        try:
            return self.query("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """As the serving role, through the pooler."""
        with closing(psycopg.connect(self.url, autocommit=True, prepare_threshold=None)) as connection:
            return connection.execute(sql.encode()).fetchall()

    @property
    def faults(self) -> list[str]:
        lines = [line for log in self._folder.glob("*.log") for line in log.read_text().splitlines()]
        return [line for line in lines if any(fault in line for fault in FAULTS)]


@pytest.fixture
def bouncer(database: Database) -> Iterator[PgBouncer]:
    migrate_database(database.server, database.name)
    with tempfile.TemporaryDirectory(prefix="pair-") as name:
        started = PgBouncer(database, Path(name))
        yield started
        started.child.stop()


async def test_every_route_works_and_no_statement_was_prepared(bouncer: PgBouncer, database: Database) -> None:
    async with running(bouncer.url) as service:
        alice = service.user()
        todo = await alice.create(due_date="2026-03-01", recurrence="FREQ=DAILY", tags=["a"])
        new = str(uuid4())
        steps: list[tuple[str, str, Any, int]] = [
            ("POST", "", {"title": "x"}, 201),
            ("GET", "?tag=a&sort=due_date&q=todo&completed=false&due_after=2026-01-01", None, 200),
            ("GET", "/{todo_id}", None, 200),
            ("PUT", "/{todo_id}", {"title": "x"}, 201),
            ("PUT", "/{todo_id}", {"title": "y"}, 200),
            ("PATCH", "/{todo_id}", {"completed": True}, 200),
            ("DELETE", "/{todo_id}", None, 204),
            ("POST", "/{todo_id}/restore", None, 200),
            ("DELETE", "?tag=nothing", None, 200),
        ]
        taken = {("GET", "/v1/export"), ("POST", "/v1/import"), ("GET", "/v1/changes"), ("GET", "/v1/stats")}
        for _ in range(7):  # psycopg would prepare by name what it has seen five times
            for method, path, body, status in steps:
                own = {("PUT", 201): new, ("PUT", 200): new}.get((method, status), todo["id"])
                answer = await alice.send(method, f"/v1/todos{path.format(todo_id=own)}", json_body=body)
                assert answer.status_code == status, (method, path, answer.text)
                taken.add((method, f"/v1/todos{path.partition('?')[0]}"))
            new = str(uuid4())
            exported = await alice.get("/v1/export")
            assert exported.status_code == 200
            imported = await alice.send("POST", "/v1/import", json_body=exported.json())
            assert imported.json() == {"created": 0, "updated": len(exported.json())}
            assert (await alice.get("/v1/changes?limit=500")).status_code == 200
            assert (await alice.get("/v1/stats")).status_code == 200
            keyed = await alice.send("POST", "/v1/todos", json_body={"title": "k"}, headers={"idempotency-key": "k"})
            assert keyed.status_code == 201
        assert (await alice.send("DELETE", "/v1/me")).status_code == 204
        assert (await alice.get("/v1/todos")).json() == []
    assert taken | {("DELETE", "/v1/me")} == {
        (method, route.path) for route in declared_routes(api) for method in route.methods or ()
    }
    assert bouncer.query("SELECT name FROM pg_prepared_statements") == []
    assert bouncer.faults == []


async def test_users_at_once_on_fewer_connections_never_see_each_other(bouncer: PgBouncer, database: Database) -> None:
    async with running(bouncer.url, pool_size=8) as service:

        async def live(user: Client) -> None:
            for turn in range(15):
                created = await user.create(title=user.user, order=turn)
                listed = (await user.get("/v1/todos?limit=200")).json()
                assert {todo["title"] for todo in listed} == {user.user}
                assert len(listed) == turn + 1
                patched = await user.send("PATCH", f"/v1/todos/{created['id']}", json_body={"completed": True})
                assert patched.json()["title"] == user.user
                assert (await user.get("/v1/stats")).json()["total"] == turn + 1

        users = [service.user() for _ in range(8)]
        await asyncio.gather(*(live(user) for user in users))
        with closing(psycopg.connect(database.superuser_url)) as superuser:
            (used,) = superuser.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'todos_app' AND datname = %s", [database.name]
            ).fetchall()[0]
        assert used == SERVER_CONNECTIONS
        # nobody's id is left on a connection
        left = await asyncio.gather(
            *(asyncio.to_thread(bouncer.query, "SELECT current_setting('app.user_id', true)") for _ in range(8))
        )
        assert {value for ((value,),) in left} <= {"", None}
        assert bouncer.query("SELECT count(*) FROM todo") == [(0,)]
    assert bouncer.faults == []


async def test_a_request_takes_as_few_round_trips_as_without(bouncer: PgBouncer) -> None:
    async with relay(bouncer.url) as counted, running(counted.url, pool_size=1) as service:
        alice = service.user()
        todo = await alice.create()
        target = f"/v1/todos/{todo['id']}"
        for method, path, body, trips in (
            ("GET", "/v1/todos", None, 1),
            ("GET", target, None, 1),
            ("POST", "/v1/todos", {"title": "x"}, 1),
            ("PATCH", target, {"title": "x"}, 2),
            ("DELETE", target, None, 1),
        ):
            before = counted.turns
            assert (await alice.send(method, path, json_body=body)).is_success
            assert counted.turns - before == trips, (method, path)
    assert bouncer.faults == []


async def test_time_outs_and_a_restart_of_the_pooler_are_503_and_pass(bouncer: PgBouncer, database: Database) -> None:
    async with running(bouncer.url, pool_size=2, statement_timeout=0.2) as service:
        alice, bob = service.user(), service.user()
        todo = await alice.create()
        with closing(psycopg.connect(database.superuser_url)) as other:
            other.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [alice.user])
            assert_unavailable(await alice.send("POST", "/v1/todos", json_body={"title": "x"}))
            await bob.create()
        assert (await alice.get("/v1/todos")).json() == [todo]
        bouncer.child.kill()
        assert_unavailable(await alice.get("/v1/todos"))
        bouncer.start()
        assert (await until_available(alice)).json() == [todo]
        await alice.create()
