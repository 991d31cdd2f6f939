"""A migrated database, shared by the tests of a worker: each test has users of its own."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from devtools.postgres import LocalPostgres
from services.todos.tests.serving import DATABASE, Client, Running, migrate_database, running

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
