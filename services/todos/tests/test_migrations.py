"""The schema: made once, whoever asks, and never more open than it should be."""

import re
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from psycopg.errors import CheckViolation
from pydantic import SecretStr
from sqlalchemy import create_engine
from sqlmodel import SQLModel

from devtools.fixtures import Database
from devtools.postgres import LocalPostgres
from services.todos.tests.serving import DATABASE, migrate_database
from todos.schema.migrate import MigrationError, migrate
from todos.settings import MigrateSettings

PROJECT = Path(__file__).parents[1]
HEAD = max(script.name for script in (PROJECT / "migrations" / "versions").glob("*.py"))[:4]


def settings(owner_url: str, app_url: str) -> MigrateSettings:
    return MigrateSettings(database_url=SecretStr(app_url), migration_database_url=SecretStr(owner_url))


def test_migrations_at_the_same_time_do_the_work_once(database: Database) -> None:
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda _: migrate_database(database.server, database.name)[0], range(4)))
    assert sorted(told) == [f"the schema is up to date, at {HEAD}"] * 3 + [
        f"the schema was brought from nothing to {HEAD}"
    ]


def test_a_schema_newer_than_the_code_is_left_alone(database: Database) -> None:
    migrate_database(database.server, database.name)
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(MigrationError, match="9999, which is newer"):
        migrate_database(database.server, database.name)


def test_models_and_migrations_are_one_schema(migrated: LocalPostgres) -> None:
    url = migrated.owner_url(DATABASE)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        changes = [change for change in compare_metadata(context, SQLModel.metadata) if change[0] != "remove_index"]
    engine.dispose()
    assert changes == []


def test_the_serving_role_is_granted_the_tables_and_nothing_else(superuser: psycopg.Connection) -> None:
    found = superuser.execute(
        "SELECT table_name::text, string_agg(privilege_type, ' ' ORDER BY privilege_type) "
        "FROM information_schema.role_table_grants WHERE grantee = 'todos_app' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    everything = "DELETE INSERT SELECT UPDATE"
    assert found == [
        ("erasure", "SELECT UPDATE"),
        ("idempotency", everything),
        ("seen_signature", everything),
        ("todo", everything),
        ("tombstone", everything),
        ("user_state", everything),
    ]


def test_time_outs_of_the_serving_role_are_set_where_the_owner_may(database: Database) -> None:
    told = migrate_database(database.server, database.name)
    assert told[-1] == "the owner may not set the serving role's time-outs: left as they are"
    try:
        assert list(migrate(settings(database.superuser_url, database.app_url)))[-1].endswith("time-outs are set")
        with psycopg.connect(database.app_url) as connection:
            assert connection.execute("SHOW statement_timeout").fetchone() == ("5s",)
            assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("10s",)
    finally:
        with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
            superuser.execute("ALTER ROLE todos_app RESET ALL")


VALUES = {
    "user_id": "'check'",
    "id": "gen_random_uuid()",
    "title": "'x'",
    "description": "''",
    "completed": "false",
    "priority": "0",
    "tags": "'{}'",
    "due_on": "NULL",
    "due_at": "NULL",
    "timezone": "'UTC'",
    '"order"': "0",
    "completed_at": "NULL",
    "created_at": "now()",
    "updated_at": "now()",
    "version": "1",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "''"},
        {"title": "''"},
        {"title": "repeat('x', 201)"},
        {"description": "repeat('x', 10001)"},
        {"priority": "5"},
        {"tags": "array_fill('x'::text, ARRAY[21])"},
        {"tags": "ARRAY['']"},
        {"tags": "ARRAY[NULL]::text[]"},
        {"due_on": "'2026-03-01'"},
        {"due_at": "'infinity'"},
        {"completed": "true"},
        {"recurrence": "'FREQ=DAILY'"},
        {"recurrence": "repeat('x', 501)", "due_at": "now()"},
        {"recurrence": "''", "due_at": "now()"},
        {"due_wall": "'infinity'"},
        {"id": "'0192f672-b56e-7c11-8f5e-3b1d2a6c9e04'", "next_id": "'0192f672-b56e-7c11-8f5e-3b1d2a6c9e04'"},
        {"completed_at": "now()"},
        {"version": "0"},
    ],
)
def test_the_tables_keep_the_limits_too(superuser: psycopg.Connection, changes: dict[str, str]) -> None:
    row = {**VALUES, **changes}
    with pytest.raises(CheckViolation):
        superuser.execute(f"INSERT INTO todo ({', '.join(row)}) VALUES ({', '.join(row.values())})".encode())


def test_a_migration_that_cannot_run_says_why_in_one_line_without_secrets(database: Database) -> None:
    wrong_password = re.sub(r":[^:@/]+@", ":5ecret@", database.owner_url)
    cases = {
        (wrong_password, database.app_url): "the password of role todos_owner is refused",
        ("postgresql://u:5ecret@127.0.0.1:1/d", database.app_url): "database at 127.0.0.1:1: connection refused",
        (database.owner_url, database.app_url.replace("todos_app", "nobody_5ecret")): "does not exist",
        (database.owner_url, database.owner_url): "the same role",
        (database.app_url, database.superuser_url): "may not do that",
    }
    for (owner_url, app_url), reason in cases.items():
        with pytest.raises(MigrationError, match=reason) as refused:
            list(migrate(settings(owner_url, app_url)))
        assert "\n" not in str(refused.value)
        assert "5ecret" not in str(refused.value)


def test_the_wheel_brings_the_migrations(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"todos/migrations/env.py", "todos/migrations/versions/0001_todos.py", "todos/cli.py"} <= set(names)
