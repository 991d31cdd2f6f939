"""`todos purge`: what is old goes, for good, whoever else is at work."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from pydantic import SecretStr

from devtools.fixtures import Database
from devtools.postgres import LocalPostgres
from services.todos.tests.assertions import assert_problem, path
from services.todos.tests.console import todos
from services.todos.tests.serving import Client, migrate_database, running
from todos.schema.migrate import MigrationError, migrate
from todos.schema.purge import PurgeError, purge
from todos.settings import MigrateSettings, PurgeSettings


@pytest.fixture
def own_database(database: Database) -> Database:
    """Migrated, and no other test's: a purge is of all users."""
    migrate_database(database.server, database.name, maintenance=True)
    return database


@pytest.fixture
def superuser(own_database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own_database.superuser_url, autocommit=True) as connection:
        yield connection


def settings(database: Database, days: int = 90) -> PurgeSettings:
    return PurgeSettings(maintenance_database_url=SecretStr(database.maintenance_url), tombstone_days=days)


def add_user(superuser: psycopg.Connection, *, old: int = 0, young: int = 0, live: int = 0, records: int = 0) -> str:
    """A user with so many tombstones, todos and expired records, each with a number of its own in this order."""
    user = f"user-{uuid4()}"
    total = old + young + live
    superuser.execute("INSERT INTO user_state VALUES (%s, %s, %s, 1)", [user, total + 1, live])
    superuser.execute(
        'INSERT INTO todo (user_id, id, title, description, completed, priority, tags, timezone, "order",'
        " created_at, updated_at, version, deleted_at)"
        " SELECT %s, gen_random_uuid(), 'x', '', false, 0, '{}', 'UTC', 0, now() - interval '1 year', now(), n + 1,"
        " CASE WHEN n <= %s THEN now() - interval '91 days' WHEN n <= %s THEN now() - interval '89 days' END"
        " FROM generate_series(1, %s) AS n",
        [user, old, old + young, total],
    )
    superuser.execute(
        "INSERT INTO idempotency SELECT %s, n::text, sha256('x'), '{}', n, now() - interval '25 hours'"
        " FROM generate_series(1, %s) AS n",
        [user, records],
    )
    return user


def left(superuser: psycopg.Connection, user: str) -> tuple[int, int, int, int]:
    """Tombstones, live todos, records, and the number up to which tombstones are gone."""
    row = superuser.execute(
        "SELECT (SELECT count(*) FROM todo WHERE user_id = s.user_id AND deleted_at IS NOT NULL),"
        " (SELECT count(*) FROM todo WHERE user_id = s.user_id AND deleted_at IS NULL),"
        " (SELECT count(*) FROM idempotency WHERE user_id = s.user_id), purged_seq FROM user_state AS s"
        " WHERE user_id = %s",
        [user],
    ).fetchone()
    assert row
    return row[0], row[1], row[2], row[3]


def test_old_tombstones_and_records_go_and_everything_else_stays(
    own_database: Database, superuser: psycopg.Connection
) -> None:
    user = add_user(superuser, old=3, young=2, live=4, records=2)
    other = add_user(superuser, young=1, live=1)
    superuser.execute("INSERT INTO idempotency VALUES (%s, 'new', sha256('x'), '{}', 1, now())", [user])
    superuser.execute("INSERT INTO seen_signature VALUES (%s, sha256('a'), now() - interval '3 minutes')", [user])
    superuser.execute("INSERT INTO seen_signature VALUES (%s, sha256('b'), now() - interval '10 seconds')", [user])
    lines = list(purge(settings(own_database)))
    assert lines[0] == "tombstones: 3 so far"
    assert lines[1].startswith("tombstones: 3 purged, of before 20")
    assert lines[2].startswith("emptied todos: 0 purged, of before 20")
    assert lines[3] == "idempotency records: 2 so far"
    assert lines[4].startswith("idempotency records: 2 purged, of before 20")
    assert lines[5] == "seen signatures: 1 so far"
    assert lines[6].startswith("seen signatures: 1 purged, of before 20")
    signatures = superuser.execute("SELECT proof = sha256('b') FROM seen_signature WHERE user_id = %s", [user])
    assert signatures.fetchall() == [(True,)]
    assert left(superuser, user) == (2, 4, 1, 4)
    assert left(superuser, other) == (1, 1, 0, 1)


def test_tombstones_of_emptied_todos_go_by_when_they_were_deleted(
    own_database: Database, superuser: psycopg.Connection
) -> None:
    user = add_user(superuser)
    superuser.execute(
        "INSERT INTO tombstone SELECT %s, gen_random_uuid(), now() - n * interval '1 day', n"
        " FROM generate_series(88, 92) AS n",
        [user],
    )
    assert "emptied todos: 3 so far" in list(purge(settings(own_database), batch_rows=3))
    assert left(superuser, user) == (0, 0, 0, 92)
    rows = superuser.execute("SELECT version FROM tombstone WHERE user_id = %s ORDER BY 1", [user]).fetchall()
    assert rows == [(88,), (89,)]


def test_a_second_purge_finds_nothing(own_database: Database, superuser: psycopg.Connection) -> None:
    user = add_user(superuser, old=1, records=1)
    list(purge(settings(own_database)))
    again = list(purge(settings(own_database)))
    assert [line.partition(" purged")[0] for line in again] == [
        "tombstones: 0",
        "emptied todos: 0",
        "idempotency records: 0",
        "seen signatures: 0",
    ]
    assert left(superuser, user) == (0, 0, 0, 2)


def test_batches_are_as_small_as_was_said(own_database: Database, superuser: psycopg.Connection) -> None:
    users = [add_user(superuser, old=old, records=1) for old in (5, 1, 3)]
    lines = list(purge(settings(own_database), batch_rows=2))
    assert [line for line in lines if line.startswith("tombstones")][:5] == [
        f"tombstones: {total} so far" for total in (2, 4, 6, 8, 9)
    ]
    assert [left(superuser, user) for user in users] == [(0, 0, 0, 6), (0, 0, 0, 2), (0, 0, 0, 4)]


def test_purges_at_once_do_the_work_once(own_database: Database, superuser: psycopg.Connection) -> None:
    users = [add_user(superuser, old=7, records=7) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda _: list(purge(settings(own_database), batch_rows=3)), range(4)))
    for name in ("tombstones", "idempotency records"):
        done = [line.removeprefix(f"{name}: ").partition(" purged")[0] for lines in told for line in lines]
        assert sum(int(number) for number in done if number.isdecimal()) == 28
    assert {left(superuser, user) for user in users} == {(0, 0, 0, 8)}


def test_days_are_as_set(own_database: Database, superuser: psycopg.Connection) -> None:
    user = add_user(superuser, old=1, young=1)
    list(purge(settings(own_database, days=92)))
    assert left(superuser, user)[0] == 2
    list(purge(settings(own_database, days=88)))
    assert left(superuser, user)[0] == 0


def test_what_is_restored_while_a_purge_waits_is_kept(own_database: Database, superuser: psycopg.Connection) -> None:
    user = add_user(superuser, old=2)
    with ThreadPoolExecutor(1) as threads:
        with superuser.transaction():
            superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [user])
            superuser.execute("UPDATE todo SET deleted_at = NULL WHERE user_id = %s AND version = 2", [user])
            purging = threads.submit(lambda: list(purge(settings(own_database))))
            blocked = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'todos purge'"
            with psycopg.connect(own_database.superuser_url, autocommit=True) as watcher:
                while not watcher.execute(blocked).rowcount:
                    assert not purging.done()
        assert purging.result()[0] == "tombstones: 1 so far"
    assert left(superuser, user) == (0, 1, 0, 3)


async def test_a_client_that_missed_a_purge_is_reset_and_another_is_not(
    own_database: Database, superuser: psycopg.Connection
) -> None:
    async with running(own_database.app_url) as service:
        alice = service.user()
        todo, kept = await alice.create(), await alice.create()
        since = await next_since(alice)
        await alice.send("DELETE", path(todo))
        after = await next_since(alice)
        superuser.execute("UPDATE todo SET deleted_at = now() - interval '91 days' WHERE deleted_at IS NOT NULL")
        list(purge(settings(own_database)))
        assert_problem(await alice.get(f"/v1/changes?since={since}"), 410, "sync_reset")
        assert (await alice.get(f"/v1/changes?since={after}")).json()["items"] == []
        assert (await alice.get("/v1/changes")).json()["items"] == [kept]
        assert_problem(await alice.send("POST", f"{path(todo)}/restore"), 404, "not_found")
        assert (await alice.send("PUT", path(todo), json_body={"title": "again"})).status_code == 201


async def next_since(client: Client) -> str:
    return str((await client.get("/v1/changes")).json()["next_since"])


def test_the_maintenance_role_reads_no_text_and_reaches_nothing_that_lives(
    own_database: Database, superuser: psycopg.Connection
) -> None:
    user = add_user(superuser, old=1, live=2, records=1)
    with psycopg.connect(own_database.maintenance_url, autocommit=True) as connection:
        for sql in (
            "SELECT title FROM todo",
            "SELECT answer FROM idempotency",
            "SELECT digest FROM idempotency",
            "UPDATE todo SET deleted_at = now()",
            "UPDATE user_state SET seq = 1",
            "DELETE FROM user_state",
            "INSERT INTO user_state VALUES ('x', 1, 1, 1)",
            "SELECT * FROM erasure",
        ):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(sql.encode())
        for setting in ("", user):
            connection.execute("SELECT set_config('app.user_id', %s, false)", [setting])
            assert connection.execute("SELECT count(id) FROM todo").fetchone() == (1,)
            connection.execute("DELETE FROM todo WHERE deleted_at IS NULL")
        connection.execute("DELETE FROM todo")
    assert left(superuser, user) == (0, 2, 1, 1)


def test_only_the_role_that_was_let_may_purge(own_database: Database, superuser: psycopg.Connection) -> None:
    user = add_user(superuser, old=1)
    for url in (own_database.app_url, own_database.superuser_url, own_database.owner_url):
        with pytest.raises(PurgeError, match="no policies of its own"):
            list(purge(PurgeSettings(maintenance_database_url=SecretStr(url))))
    assert left(superuser, user)[0] == 1


def test_a_migration_lets_the_role_of_its_setting_purge_and_no_longer_another(
    database: Database, postgres: LocalPostgres
) -> None:
    with pytest.raises(PurgeError, match="no policies"):
        list(purge(settings(database)))
    assert migrate_database(postgres, database.name, maintenance=True)[-1] == "the maintenance role may purge"
    assert migrate_database(postgres, database.name, maintenance=True)[-1] == "the maintenance role may purge"
    list(purge(settings(database)))
    other = f"other_{uuid4().hex}"
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {other} LOGIN PASSWORD 'secret'".encode())
    migrate_settings = MigrateSettings(
        database_url=SecretStr(database.app_url),
        migration_database_url=SecretStr(database.owner_url),
        maintenance_database_url=SecretStr(f"postgresql://{other}:secret@127.0.0.1:{postgres.port}/{database.name}"),
    )
    list(migrate(migrate_settings))
    with pytest.raises(PurgeError, match="no policies"):
        list(purge(settings(database)))


@pytest.mark.parametrize("kind", ["app_url", "owner_url"])
def test_a_maintenance_role_of_another_setting_is_refused(database: Database, kind: str) -> None:
    url = SecretStr(getattr(database, kind))
    given = MigrateSettings(
        database_url=SecretStr(database.app_url),
        migration_database_url=SecretStr(database.owner_url),
        maintenance_database_url=url,
    )
    with pytest.raises(MigrationError, match="TODOS_MAINTENANCE_DATABASE_URL names the role of another setting"):
        list(migrate(given))


def test_the_command_prints_what_it_did_and_ends_with_0(own_database: Database, superuser: psycopg.Connection) -> None:
    add_user(superuser, old=2, records=1)
    ended = todos("purge", maintenance_database_url=own_database.maintenance_url, tombstone_days="90")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0] == "tombstones: 2 so far"
    assert len(ended.stdout.splitlines()) == 6


def test_the_command_tells_what_is_wrong_in_one_line_without_secrets(own_database: Database) -> None:
    cases = {
        "postgresql://u:5ecret@127.0.0.1:1/d": "database at 127.0.0.1:1: connection refused",
        own_database.app_url: "the role has no policies of its own: todos migrate, with this setting",
    }
    for url, reason in cases.items():
        ended = todos("purge", maintenance_database_url=url)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.splitlines() == [f"not purged: {reason}"]
    ended = todos("purge", tombstone_days="0")
    assert ended.returncode == 2
    assert [line.partition(":")[0] for line in sorted(ended.stderr.splitlines())] == [
        "TODOS_MAINTENANCE_DATABASE_URL",
        "TODOS_TOMBSTONE_DAYS",
    ]
