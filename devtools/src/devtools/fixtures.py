"""The pytest plugin: real servers for tests, started when a test first needs one.

Every xdist worker has its own `postgres` and `valkey_server`; tests share them and must leave them running. A
test that stops, kills or freezes a server uses `own_postgres` or `own_valkey`.
"""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from devtools.postgres import LocalPostgres
from devtools.valkey import LocalValkey

_numbers = itertools.count(1)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every asynchronous test runs on the loop that the services run on."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Database:
    """An empty database: `owner_url` for migrations, `app_url` and `maintenance_url` for roles that own nothing."""

    name: str
    server: LocalPostgres

    @property
    def owner_url(self) -> str:
        return self.server.owner_url(self.name)

    @property
    def app_url(self) -> str:
        return self.server.app_url(self.name)

    @property
    def maintenance_url(self) -> str:
        return self.server.maintenance_url(self.name)

    @property
    def superuser_url(self) -> str:
        return self.server.superuser_url(self.name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    """A PostgreSQL server shared by the tests of this worker."""
    with _folder() as folder:
        server = LocalPostgres(folder, durable=False)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def database(postgres: LocalPostgres) -> Iterator[Database]:
    """A fresh empty database on the shared server; it is dropped afterwards, open connections or not."""
    fresh = Database(f"test_{next(_numbers)}", postgres)
    postgres.create_database(fresh.name)
    yield fresh
    postgres.drop_database(fresh.name)


@pytest.fixture
def own_postgres() -> Iterator[Callable[[], LocalPostgres]]:
    """Starts PostgreSQL servers that belong to the test; each call takes about a second."""
    with _folder() as folder:
        servers: list[LocalPostgres] = []

        def start() -> LocalPostgres:
            servers.append(LocalPostgres(folder / str(len(servers)), durable=False))
            servers[-1].start()
            return servers[-1]

        yield start
        for server in servers:
            server.stop()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[LocalValkey]:
    """A Valkey server shared by the tests of this worker."""
    with _folder() as folder:
        server = LocalValkey(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def valkey(valkey_server: LocalValkey) -> LocalValkey:
    """The shared Valkey server, emptied."""
    valkey_server.flush()
    return valkey_server


@pytest.fixture
def own_valkey() -> Iterator[Callable[..., LocalValkey]]:
    """Starts Valkey servers that belong to the test, each with the settings that it is given by name."""
    with _folder() as folder:
        servers: list[LocalValkey] = []

        def start(**settings: str) -> LocalValkey:
            named = {name.replace("_", "-"): value for name, value in settings.items()}
            servers.append(LocalValkey(folder / str(len(servers)), settings=named))
            servers[-1].start()
            return servers[-1]

        yield start
        for server in servers:
            server.stop()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # pytest's own folders are closed to other users, of whom PostgreSQL may have to be one
    with tempfile.TemporaryDirectory(prefix="pair-") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path
