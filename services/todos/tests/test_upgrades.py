"""Migrations while the version before still serves: no write of either version fails, and none is lost."""

import itertools
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

import todos.schema.migrate
from devtools.fixtures import Database
from todos.schema.migrate import MigrationError, migrate, migrations_folder
from todos.schema.models import PRIVILEGES
from todos.settings import MigrateSettings

REVISIONS = sorted(script.name[:4] for script in (migrations_folder() / "versions").glob("*.py"))
FIRST_TABLES = {
    "0001": ("todo", "user_state"),
    "0003": ("idempotency", "erasure"),
    "0004": ("seen_signature",),
    "0005": ("tombstone",),
}
"""With which revision each came."""

# what each version of the service says to the database; a version that is followed by another stays as it was
READS = {
    "0001": """
        SELECT id, title, description, completed, priority, tags, due_on, due_at, timezone, "order", completed_at,
               created_at, updated_at, deleted_at, version
        FROM todo WHERE user_id = %(user_id)s AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 51
    """,
    "0002": """
        SELECT id, title, due_on, due_at, timezone, recurrence, next_id, due_wall, version
        FROM todo WHERE user_id = %(user_id)s AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 51
    """,
    "0003": """
        SELECT id, title, recurrence, next_id, due_wall, version, (SELECT purged_seq FROM user_state
                WHERE user_id = %(user_id)s)
        FROM todo WHERE user_id = %(user_id)s AND version > 0 ORDER BY version LIMIT 101
    """,
    "0006": "SELECT id, next_id, next_version, version FROM todo WHERE user_id = %(user_id)s",
    "0005": "SELECT id, deleted_at, version FROM tombstone WHERE user_id = %(user_id)s",
    "0004": "SELECT proof, expires FROM seen_signature WHERE user_id = %(user_id)s",
}
WRITES = {
    "0001": [
        """
        WITH state AS (
            INSERT INTO user_state (user_id, seq, live_count)
            VALUES (%(user_id)s, (extract(epoch FROM now()) * 1000)::bigint, 1)
            ON CONFLICT (user_id) DO UPDATE SET seq = user_state.seq + 1, live_count = user_state.live_count + 1
            WHERE user_state.live_count < 10000
            RETURNING seq, clock_timestamp() AS at
        )
        INSERT INTO todo (user_id, id, title, description, completed, priority, tags, due_on, due_at, timezone,
                          "order", completed_at, created_at, updated_at, version)
        SELECT %(user_id)s, %(id)s, 'x', '', false, 2, '{a,b}', '2026-03-01', '2026-03-01Z', 'UTC', 0, NULL, at, at, seq
        FROM state
        RETURNING version
        """,
        """
        WITH state AS (UPDATE user_state SET seq = seq + 1 WHERE user_id = %(user_id)s RETURNING seq)
        UPDATE todo SET title = 'y', completed = true, completed_at = clock_timestamp(),
                        updated_at = greatest(created_at, clock_timestamp()), version = (SELECT seq FROM state)
        WHERE user_id = %(user_id)s AND id = %(id)s AND deleted_at IS NULL
        RETURNING version
        """,
        """
        WITH state AS (
            UPDATE user_state SET seq = seq + 1, live_count = live_count - 1 WHERE user_id = %(user_id)s RETURNING seq
        )
        UPDATE todo SET deleted_at = clock_timestamp(), version = (SELECT seq FROM state)
        WHERE user_id = %(user_id)s AND id = %(id)s AND deleted_at IS NULL
        RETURNING version
        """,
    ],
    "0002": [
        """
        WITH state AS (
            INSERT INTO user_state (user_id, seq, live_count)
            VALUES (%(user_id)s, (extract(epoch FROM now()) * 1000)::bigint, 1)
            ON CONFLICT (user_id) DO UPDATE SET seq = user_state.seq + 1, live_count = user_state.live_count + 1
            RETURNING seq, clock_timestamp() AS at
        )
        INSERT INTO todo (user_id, id, title, description, completed, priority, tags, due_on, due_at, timezone,
                          recurrence, "order", completed_at, created_at, updated_at, version, due_wall)
        SELECT %(user_id)s, %(id)s, 'x', '', false, 0, '{}', NULL, '2026-03-01Z', 'UTC', 'FREQ=DAILY', 0, NULL, at, at,
               seq, '2026-03-01'
        FROM state
        RETURNING version
        """,
        """
        WITH state AS (UPDATE user_state SET seq = seq + 1 WHERE user_id = %(user_id)s RETURNING seq)
        UPDATE todo SET completed = true, completed_at = clock_timestamp(), next_id = gen_random_uuid(),
                        updated_at = greatest(created_at, clock_timestamp()), version = (SELECT seq FROM state)
        WHERE user_id = %(user_id)s AND id = %(id)s AND deleted_at IS NULL
        RETURNING version
        """,
    ],
    "0003": [
        """
        INSERT INTO user_state (user_id, seq, live_count, purged_seq)
        SELECT %(user_id)s, first - 1, 0, first - 1 FROM (
            SELECT greatest((extract(epoch FROM now()) * 1000)::bigint, (SELECT highest + 3 FROM erasure)) AS first
        ) AS numbers
        ON CONFLICT DO NOTHING
        RETURNING seq
        """,
        """
        WITH state AS (
            UPDATE user_state SET seq = seq + 1, live_count = live_count + 1 WHERE user_id = %(user_id)s
            RETURNING seq, clock_timestamp() AS at
        ), made AS (
            INSERT INTO todo (user_id, id, title, description, completed, priority, tags, due_on, due_at, timezone,
                              recurrence, "order", completed_at, created_at, updated_at, version)
            SELECT %(user_id)s, %(id)s, 'x', '', false, 0, '{}', NULL, NULL, 'UTC', NULL, 0, NULL, at, at, seq
            FROM state
        )
        INSERT INTO idempotency (user_id, key, digest, answer, version, created_at)
        SELECT %(user_id)s, %(id)s::text, sha256('x'), '{}', seq, at FROM state
        RETURNING version
        """,
        "UPDATE erasure SET highest = greatest(highest, 0) RETURNING highest",
    ],
}
WRITES["0004"] = [
    WRITES["0002"][0],
    """
        WITH expired AS (DELETE FROM seen_signature WHERE user_id = %(user_id)s AND expires < now())
        INSERT INTO seen_signature (user_id, proof, expires)
        VALUES (%(user_id)s, sha256(%(id)s::text::bytea), now() + interval '30 seconds')
        RETURNING 1
        """,
]
WRITES["0005"] = [
    WRITES["0002"][0],
    """
        INSERT INTO tombstone (user_id, id, deleted_at, version)
        SELECT user_id, gen_random_uuid(), now(), seq FROM user_state WHERE user_id = %(user_id)s
        RETURNING 1
        """,
]
WRITES["0006"] = [
    *WRITES["0002"],
    """
        UPDATE todo SET next_version = version + 1 WHERE user_id = %(user_id)s AND id = %(id)s RETURNING next_version
        """,
]
CYCLES = 5
"""Of every writer before, and again after."""
ROWS = 20_000
"""There from the start, so that indexes and checks take a while."""
WAIT_SECONDS = 30
USERS = ("alice", "bob")


class Writer:
    """One version of the service: writes and reads for one user until it is told to stop."""

    def __init__(self, url: str, revision: str, user_id: str, changed: threading.Condition) -> None:
        self.cycles = 0
        self.created: set[str] = set()
        self._url = url
        self._revision = revision
        self._user_id = user_id
        self._changed = changed

    def run(self, stop: threading.Event) -> None:
        options = "-c statement_timeout=5s"
        with closing(psycopg.connect(self._url, autocommit=True, prepare_threshold=None, options=options)) as database:
            while not stop.is_set():
                self._cycle(database)
                with self._changed:
                    self.cycles += 1
                    self._changed.notify_all()

    def _cycle(self, database: psycopg.Connection) -> None:
        values = {"user_id": self._user_id, "id": str(uuid4())}
        for statement in WRITES[self._revision]:
            with database.transaction():
                database.execute("SELECT set_config('app.user_id', %s, true)", [self._user_id])
                written = database.execute(statement.encode(), values).fetchall()
                assert written or "DO NOTHING" in statement
        self.created.add(values["id"])
        with database.transaction():
            database.execute("SELECT set_config('app.user_id', %s, true)", [self._user_id])
            assert database.execute(READS[self._revision].encode(), values).fetchall() or self._revision == "0001"


@pytest.fixture
def code_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes `todos migrate` that of the version whose last revision this is."""

    def choose(revision: str) -> None:
        folder = tmp_path / revision
        if not folder.exists():
            shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
            for script in (folder / "versions").glob("*.py"):
                if script.name[:4] > revision:
                    script.unlink()
        tables = [table for first, names in FIRST_TABLES.items() if first <= revision for table in names]
        known = {table: privileges for table, privileges in PRIVILEGES.items() if table in tables}
        monkeypatch.setattr(todos.schema.migrate, "migrations_folder", lambda: folder)
        monkeypatch.setattr(todos.schema.migrate, "PRIVILEGES", known)

    return choose


@pytest.mark.parametrize(("older", "newer"), list(itertools.pairwise(REVISIONS)))
def test_a_migration_fails_no_write_of_the_version_before_or_after(
    database: Database, code_of: Callable[[str], None], older: str, newer: str
) -> None:
    settings = MigrateSettings(
        database_url=SecretStr(database.app_url),
        migration_database_url=SecretStr(database.owner_url),
        maintenance_database_url=SecretStr(database.maintenance_url) if newer == REVISIONS[-1] else None,
    )
    code_of(older)
    before = settings.model_copy(update={"maintenance_database_url": None})
    first, *_ = migrate(before)
    assert first == f"the schema was brought from nothing to {older}"
    fill(database)

    changed, stop = threading.Condition(), threading.Event()
    old = [Writer(database.app_url, older, user, changed) for user in USERS * 2]
    new = [Writer(database.app_url, newer, user, changed) for user in USERS]
    with ThreadPoolExecutor(len(old + new) + 2) as threads:
        futures = [threads.submit(writer.run, stop) for writer in old]

        def wait(writers: list[Writer]) -> None:
            goals = {writer: writer.cycles + CYCLES for writer in writers}
            with changed:
                in_time = changed.wait_for(
                    lambda: any(future.done() for future in futures) or all(w.cycles >= goals[w] for w in writers),
                    WAIT_SECONDS,
                )
            assert in_time

        try:
            wait(old)
            code_of(newer)
            told = [lines[0] for lines in threads.map(lambda _: list(migrate(settings)), range(2))]
            futures += [threads.submit(writer.run, stop) for writer in new]
            wait(old + new)
        finally:
            stop.set()
        for future in futures:
            future.result()
    assert sorted(told) == [
        f"the schema is up to date, at {newer}",
        f"the schema was brought from {older} to {newer}",
    ]
    code_of(older)
    with pytest.raises(MigrationError, match=f"{newer}, which is newer"):
        list(migrate(before))
    with closing(psycopg.connect(database.superuser_url)) as superuser:
        rows = superuser.execute("SELECT id::text FROM todo WHERE user_id = ANY(%s)", [list(USERS)]).fetchall()
        assert {name for (name,) in rows} == set().union(*(writer.created for writer in old + new))
        doubles = superuser.execute("SELECT FROM todo GROUP BY user_id, version HAVING count(*) > 1").fetchall()
        assert doubles == []
        invalid = superuser.execute("SELECT FROM pg_index WHERE NOT indisvalid").fetchall()
        assert invalid == []
        unchecked = superuser.execute("SELECT conname FROM pg_constraint WHERE NOT convalidated").fetchall()
        assert unchecked == []


def fill(database: Database) -> None:
    with closing(psycopg.connect(database.superuser_url, autocommit=True)) as superuser:
        superuser.execute(
            sql.SQL(
                """
                INSERT INTO todo (user_id, id, title, description, completed, priority, tags, timezone, "order",
                                  created_at, updated_at, version)
                SELECT 'carol', gen_random_uuid(), 'x', '', false, 0, '{{}}', 'UTC', 0, now(), now(), number
                FROM generate_series(1, {}) AS number
                """
            ).format(sql.Literal(ROWS))
        )
