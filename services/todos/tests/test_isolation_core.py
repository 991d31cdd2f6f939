"""Three walls between users: the statement, the key, and row-level security."""

import ast
import asyncio
import inspect
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr

import todos
from runtime.problems import ProblemError
from services.todos.tests.isolation import without_first_wall
from services.todos.tests.serving import Client
from services.todos.tests.sessions import session_of, todos_of
from todos.database.command import Command, Statement
from todos.database.pool import Database, open_database
from todos.database.user_session import Transaction
from todos.domain.fields import TodoFields
from todos.http.query import list_query
from todos.schema.check import open_when_fit
from todos.schema.models import TABLES
from todos.store import list_statements, repository, statements
from todos.store.list_statements import SORT_FIELDS, Shape, Sort, batch_statement, list_statement


def every_statement() -> list[Statement[object]]:
    filters = frozenset(list_statements._CONDITIONS)
    listed = [
        make(Shape(Sort(field, descending=descending), frozenset(chosen), deleted, after_cursor))
        for make, field, descending, chosen, deleted, after_cursor in itertools.product(
            (list_statement, batch_statement),
            SORT_FIELDS,
            (False, True),
            (frozenset(), filters),
            (False, True),
            (False, True),
        )
    ]
    fixed = [value for value in vars(statements).values() if isinstance(value, Statement)]
    assert len(fixed) >= 9
    return [*fixed, *listed]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One connection, which every request has to share."""
    url = SecretStr(database_url)
    async with open_database(url, pool_size=1, statement_seconds=5) as opened:
        await open_when_fit(opened, url)
        yield opened


async def setting_left_on_the_connection(database: Database) -> tuple[str | None, int]:
    async with database.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT nullif(current_setting('app.user_id', true), ''), (SELECT count(*) FROM todo)"
        )
        row = await cursor.fetchone()
    assert row
    return row[0], row[1]


def committing(command: Command[None]) -> Callable[[Transaction], Awaitable[None]]:
    return lambda transaction: transaction.commit(command)


async def test_two_users_may_choose_the_same_id(alice: Client, bob: Client) -> None:
    target = f"/v1/todos/{uuid4()}"
    for client, title in ((alice, "hers"), (bob, "his")):
        assert (await client.send("PUT", target, json_body={"title": title})).status_code == 201
    assert (await alice.send("DELETE", target)).status_code == 204
    assert (await bob.get(target)).json()["title"] == "his"
    assert [todo["title"] for todo in (await bob.get("/v1/todos")).json()] == ["his"]
    assert (await bob.get("/v1/todos?deleted=true")).json() == []


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_anothers_todo_is_answered_as_one_that_never_was(alice: Client, bob: Client, method: str) -> None:
    todo = await alice.create()
    body = {"title": "x"} if method == "PATCH" else None
    answers = []
    for todo_id in (todo["id"], str(uuid4())):
        answer = await bob.send(
            method, f"/v1/todos/{todo_id}", json_body=body, headers={"if-match": f'"{todo["version"]}"'}
        )
        instance = answer.json()["instance"]
        shown = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
        answers.append((answer.status_code, shown, answer.text.replace(instance, "")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert (await alice.get(f"/v1/todos/{todo['id']}")).json() == todo


def test_every_statement_is_bound_to_its_user() -> None:
    for statement in every_statement():
        assert "user_id" in statement.names
        sql = statement.sql.decode()
        for table in TABLES:
            read = sql.count(f"FROM {table} ") + sql.count(f"FROM {table}\n") + sql.count(f"UPDATE {table} ")
            number = statement.names.index("user_id") + 1
            assert sql.count(f"{table}.user_id = ${number}::VARCHAR") >= read, sql


async def test_without_the_first_wall_nothing_of_another_user_is_seen_or_changed(
    database: Database, monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    alice, bob = f"alice-{uuid4()}", f"bob-{uuid4()}"
    hers = await todos_of(database, alice).create(TodoFields(title="hers"))
    his = await todos_of(database, bob).create(TodoFields(title="his"))
    for name, value in list(vars(statements).items()):
        if isinstance(value, Statement) and name not in ("create", "begin_state"):
            assert without_first_wall(value).sql != value.sql
            monkeypatch.setattr(statements, name, without_first_wall(value))
    monkeypatch.setattr(repository, "list_statement", lambda shape: without_first_wall(list_statement(shape)))

    cursor = psycopg.RawCursor(superuser)
    cursor.execute(statements.get.sql, [bob if name == "user_id" else hers.id for name in statements.get.names])
    assert cursor.fetchone(), "for a role that bypasses row-level security the wall is truly gone"

    todos_of_bob = todos_of(database, bob)
    assert [row.id for row in (await todos_of_bob.page(list_query(b"", bob))).rows] == [his.id]
    for attempt in (
        todos_of_bob.get(hers.id),
        todos_of_bob.patch(hers.id, {"title": "taken"}, None),
        todos_of_bob.delete(hers.id, None),
    ):
        with pytest.raises(ProblemError) as refused:
            await attempt
        assert refused.value.code == "not_found"
    _, created = await todos_of_bob.put(hers.id, TodoFields(title="own"), None, None)
    assert created
    monkeypatch.undo()
    assert json.loads((await todos_of(database, alice).get(hers.id)).document)["title"] == "hers"


async def test_no_row_can_be_written_for_another_user(database: Database) -> None:
    alice, bob = f"alice-{uuid4()}", f"bob-{uuid4()}"
    await todos_of(database, alice).create(TodoFields(title="hers"))
    for sql in (
        f"INSERT INTO user_state VALUES ('{alice}x', 1, 0)",
        f"INSERT INTO user_state VALUES ($1, 1, 0) ON CONFLICT (user_id) DO UPDATE SET user_id = '{alice}x'",
    ):
        names = ("user_id",) if "$1" in sql else ()
        command = Command(Statement(sql.encode(), names, lambda: None, ()))
        await todos_of(database, bob).create(TodoFields(title="his"))
        with pytest.raises(InsufficientPrivilege):
            await session_of(database, bob).write(committing(command))


async def test_the_users_setting_never_survives_on_a_reused_connection(
    database: Database, superuser: psycopg.Connection
) -> None:
    user = f"alice-{uuid4()}"
    alice = todos_of(database, user)
    row = await alice.create(TodoFields(title="x"))
    assert await setting_left_on_the_connection(database) == (None, 0)
    await alice.page(list_query(b"", user))
    assert await setting_left_on_the_connection(database) == (None, 0)
    with pytest.raises(ProblemError):
        await alice.patch(str(uuid4()), {}, None)
    assert await setting_left_on_the_connection(database) == (None, 0)
    broken = Command(Statement(b"SELECT 1/0", (), int, ()))
    with pytest.raises(psycopg.errors.DivisionByZero):
        await session_of(database, user).read(broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await session_of(database, user).write(lambda transaction: transaction.commit(broken))
    assert await setting_left_on_the_connection(database) == (None, 0)
    with superuser.transaction():
        superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [user])
        writing = asyncio.create_task(alice.patch(row.id, {"title": "y"}, None))
        with psycopg.connect(superuser.info.dsn, password=superuser.info.password, autocommit=True) as watcher:
            blocked = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'todos'"
            while not watcher.execute(blocked).rowcount:  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await setting_left_on_the_connection(database) == (None, 0)
    assert json.loads((await alice.get(row.id)).document)["title"] == "x"


def test_an_unset_user_sees_nothing_and_may_write_nothing(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM todo").fetchall() == []
        assert connection.execute("SELECT * FROM user_state").fetchall() == []
        with pytest.raises(InsufficientPrivilege):
            connection.execute("INSERT INTO user_state VALUES ('', 1, 0)")


# -- the only place where a connection is taken for users' data

SOURCE = Path(inspect.getfile(todos)).parent
WAYS_IN = frozenset(
    {
        *("connection", "getconn", "connect", "Connection", "AsyncConnection", "ConnectionPool", "AsyncConnectionPool"),
        *(
            "create_engine",
            "create_async_engine",
            "Engine",
            "Session",
            "AsyncSession",
            "sessionmaker",
            "NullConnectionPool",
        ),
        *("AsyncNullConnectionPool", "scoped_session", "asyncpg"),
    }
)
ENTRIES = {
    ("database/user_session.py", "UserSession._open_connection"): "the scoped entry",
    ("database/pool.py", "open_database"): "makes the pool, takes nothing from it",
    ("schema/check.py", "_missing"): "reads the catalogue alone, before anything is served",
    ("schema/migrate.py", "migrate"): "the owner's, for the schema",
    ("schema/migrate.py", "_upgrade"): "the owner's, for the schema",
    ("schema/migrate.py", "_take_turn"): "the owner's, for the schema",
    ("schema/migrate.py", "_grant"): "the owner's, for the schema",
    ("schema/migrate.py", "_let_purge"): "the owner's, for the schema",
    ("schema/migrate.py", "_driver_connection"): "the owner's, for the schema",
    ("schema/maintenance_role.py", "grant"): "the owner's, for the schema",
    ("schema/maintenance_role.py", "_limit"): "the owner's, for the schema",
    ("schema/purge.py", "purge"): "the maintenance role's, which no policy lets see a live todo",
}
HARMLESS = {
    ("database/pipeline.py", ""): "imports",
    ("database/pipeline.py", "PipelinedConnection"): "derives from the type",
    ("database/pipeline.py", "PipelinedConnection.connect"): "names the type's own `connect`, for the pool",
    ("database/pool.py", ""): "names the types",
    ("database/pool.py", "Database"): "names the types",
    ("schema/check.py", ""): "imports",
    ("schema/migrate.py", ""): "imports",
    ("database/user_session.py", ""): "imports",
    ("database/user_session.py", "Transaction.__init__"): "is given one by the entry",
    ("database/user_session.py", "_Guard.__init__"): "is given one by the entry",
    ("database/pool.py", "is_closed_by_server"): "is given one by the entry",
    ("schema/maintenance_role.py", "is_granted"): "reads the catalogue alone",
    ("schema/maintenance_role.py", "_schema"): "reads the catalogue alone",
    ("schema/purge.py", "_in_batches"): "is given one by the job",
    ("schema/purge.py", "_tombstones"): "is given one by the job",
    ("schema/purge.py", "_records"): "is given one by the job",
    ("schema/purge.py", ""): "names the types",
}


class WaysIn(ast.NodeVisitor):
    """Collects every use of a name that leads to a connection, with the function it is in."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.found: set[tuple[str, str]] = set()
        self._path: list[str] = []

    def _named(self, name: str) -> None:
        if name in WAYS_IN:
            self.found.add((self.module, ".".join(self._path)))

    def _inside(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._path.append(node.name)
        self.generic_visit(node)
        self._path.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._named(node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id != "connection":
            self._named(node.id)

    def visit_alias(self, node: ast.alias) -> None:
        self._named(node.name.rpartition(".")[2])
        self._named(node.name.partition(".")[0])


def ways_in(module: str, source: str) -> set[tuple[str, str]]:
    visitor = WaysIn(module)
    visitor.visit(ast.parse(source))
    return visitor.found - ENTRIES.keys() - HARMLESS.keys()


def test_no_connection_is_opened_but_at_the_scoped_entry() -> None:
    modules = sorted(SOURCE.rglob("*.py"))
    assert len(modules) > 15
    for module in modules:
        name = str(module.relative_to(SOURCE))
        assert ways_in(name, module.read_text()) == set(), "a connection is opened beside the scoped entry"


@pytest.mark.parametrize(
    "planted",
    [
        "async def f(database):\n    async with database.pool.connection() as c: ...",
        "async def f(database):\n    c = await database.pool.getconn()",
        "import psycopg\ndef f(url):\n    return psycopg.connect(url)",
        "from psycopg import AsyncConnection as Harmless",
        "from psycopg_pool import AsyncConnectionPool",
        "from sqlmodel import Session",
        "from sqlalchemy.orm import sessionmaker",
        "import sqlalchemy\nengine = sqlalchemy.create_engine('x')",
    ],
)
def test_the_check_catches_a_planted_connection(planted: str) -> None:
    assert ways_in("routes.py", planted)
