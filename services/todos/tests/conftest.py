"""A migrated database, shared by the tests of a worker: each test has users of its own."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from devtools.postgres import LocalPostgres
from services.todos.tests.isolation import walked, without_own_condition
from services.todos.tests.serving import DATABASE, Client, Running, migrate_database, running, small_pool
from todos.database.command import Command
from todos.database.pipeline import Sent
from todos.database.pool import Database, open_database
from todos.schema.check import open_when_fit

pytest.register_assert_rewrite("services.todos.tests.assertions")


@pytest.fixture(scope="session")
def migrated(postgres: LocalPostgres) -> Iterator[LocalPostgres]:
    """The server with a migrated database of the name `DATABASE`."""
    postgres.create_database(DATABASE)
    migrate_database(postgres, DATABASE, maintenance=True)
    yield postgres
    postgres.drop_database(DATABASE)


@pytest.fixture
def database_url(migrated: LocalPostgres) -> str:
    return migrated.app_url(DATABASE)


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Running]:
    async with running(database_url) as started:
        yield started


@pytest.fixture
def alice(service: Running) -> Client:
    return service.user()


@pytest.fixture
def bob(service: Running) -> Client:
    return service.user()


@pytest.fixture
def superuser(migrated: LocalPostgres) -> Iterator[psycopg.Connection]:
    """Sees and changes everything."""
    with psycopg.connect(migrated.superuser_url(DATABASE), autocommit=True) as connection:
        yield connection


@pytest.fixture
async def one_connection(database_url: str) -> AsyncIterator[Database]:
    """A pool of a single connection, which every request has to share."""
    url = SecretStr(database_url)
    async with open_database(url, **small_pool(statement_seconds=5)) as opened:
        await open_when_fit(opened, url)
        yield opened


@pytest.fixture
def row_level_security_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every statement runs without the conditions that bind it to its user; each is one of the register's."""
    known = {each.statement.sql for each in walked()}
    ran: set[bytes] = set()
    bound_to = Command.bound_to

    def unbound_to(self: Command[Any], user_id: str) -> Sent:
        ran.add(self._statement.sql)
        return without_own_condition(self._statement).sql, bound_to(self, user_id)[1]

    monkeypatch.setattr(Command, "bound_to", unbound_to)
    yield
    assert ran
    assert ran <= known
