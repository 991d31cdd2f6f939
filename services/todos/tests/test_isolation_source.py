"""Users' data are reached by one way: the scoped entry, with statements that were checked when they were compiled."""

import ast
import inspect
from pathlib import Path

import pytest

import todos

SOURCE = Path(inspect.getfile(todos)).parent
WAYS_IN = frozenset(
    {
        *("connection", "getconn", "connect", "Connection", "AsyncConnection", "asyncpg"),
        *("ConnectionPool", "AsyncConnectionPool", "NullConnectionPool", "AsyncNullConnectionPool"),
        *("create_engine", "create_async_engine", "Engine"),
        *("Session", "AsyncSession", "sessionmaker", "scoped_session"),
        *("round_trip", "pgconn", "send_query", "send_query_params"),
        *("execute", "executemany", "exec_driver_sql", "copy"),
    }
)
"""Names that lead to a connection, or send SQL over one."""
MAKERS = frozenset({"Statement", "OwnershipCompiler"})
"""Calling one makes a statement; `compiled` does, and checks it."""
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
    ("database/command.py", "Command"): "has values for a checked statement",
    ("database/command.py", "Runnable"): "names the method",
    ("database/command.py", "compiled"): "makes statements, once they are checked",
    ("database/ownership.py", "compile_owned"): "checks statements",
    ("database/pipeline.py", "PipelinedConnection.__init__"): "is the pipeline itself",
    ("database/pipeline.py", "PipelinedConnection._next"): "is the pipeline itself",
    ("database/pipeline.py", "PipelinedConnection._ready"): "is the pipeline itself",
    ("database/pipeline.py", "PipelinedConnection._send"): "is the pipeline itself",
    ("database/pipeline.py", "PipelinedConnection.round_trip"): "is the pipeline itself",
    ("database/reachability.py", "fault_of"): "reads why a connection failed",
    ("database/user_session.py", "Transaction._run"): "sends commands as the user",
    ("database/user_session.py", "Transaction.read"): "sends commands as the user",
    ("database/user_session.py", "Transaction.undo"): "sends commands as the user",
    ("database/user_session.py", "_undoing_the_unfinished"): "rolls back",
    ("database/pipeline.py", ""): "imports",
    ("database/pipeline.py", "PipelinedConnection"): "derives from the type",
    ("database/pipeline.py", "PipelinedConnection.connect"): "names the type's own `connect`, for the pool",
    ("database/pool.py", ""): "names the types",
    ("database/pool.py", "Database"): "names the types",
    ("schema/check.py", ""): "imports",
    ("schema/migrate.py", ""): "imports",
    ("schema/maintenance_role.py", "is_granted"): "reads the catalogue alone",
    ("schema/maintenance_role.py", "_schema"): "reads the catalogue alone",
    ("schema/purge.py", "_in_batches"): "is given one by the job",
    ("schema/purge.py", "_deleted"): "is given one by the job",
    ("schema/purge.py", "_records"): "is given one by the job",
    ("schema/purge.py", ""): "names the types",
}


class WaysIn(ast.NodeVisitor):
    """Collects whatever opens a connection, sends SQL or makes a statement, with the function it is in."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.found: set[tuple[str, str]] = set()
        self._path: list[str] = []

    def _named(self, name: str) -> None:
        if name in WAYS_IN:
            self._add()

    def _add(self) -> None:
        self.found.add((self.module, ".".join(self._path)))

    def _inside(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._path.append(node.name)
        self.generic_visit(node)
        self._path.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name == "bound_to":
            self._add()
        self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._inside(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._named(node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id != "connection":
            self._named(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.value if isinstance(node.func, ast.Subscript) else node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if name in MAKERS or (name == "replace" and any(keyword.arg == "sql" for keyword in node.keywords)):
            self._add()
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        self._named(node.name.rpartition(".")[2])
        self._named(node.name.partition(".")[0])


def ways_in(module: str, source: str) -> set[tuple[str, str]]:
    visitor = WaysIn(module)
    visitor.visit(ast.parse(source))
    return visitor.found


def test_there_is_no_way_to_the_database_but_the_known_ones() -> None:
    modules = sorted(SOURCE.rglob("*.py"))
    assert len(modules) > 40
    found = {way for module in modules for way in ways_in(str(module.relative_to(SOURCE)), module.read_text())}
    assert found == ENTRIES.keys() | HARMLESS.keys()


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
        "async def f(connection):\n    await connection.round_trip((b'SELECT', ()))",
        "async def f(connection):\n    await connection.execute('SELECT')",
        "def f(connection):\n    connection.pgconn.send_query(b'SELECT')",
        "read = Statement(b'SELECT', (), int, ())",
        "read = command.Statement[int](b'SELECT', (), int, ())",
        "read = dataclasses.replace(find, sql=b'SELECT')",
        "read = str(OwnershipCompiler(dialect, select(Todo)))",
        "class Raw:\n    def bound_to(self, user_id):\n        return b'SELECT', ()",
    ],
)
def test_a_planted_way_to_the_database_is_seen(planted: str) -> None:
    assert ways_in("http/routes.py", planted)
