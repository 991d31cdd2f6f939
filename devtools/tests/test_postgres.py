"""The local PostgreSQL: its roles, its restarts, its end."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from devtools import postgres as module
from devtools.fixtures import Database
from devtools.postgres import LocalPostgres
from devtools.processes import Account, StartError

PARENT = """
import json, sys, time
from pathlib import Path
from devtools.postgres import LocalPostgres
from devtools.valkey import LocalValkey
postgres, valkey = LocalPostgres(Path(sys.argv[1], "postgres"), durable=False), LocalValkey(Path(sys.argv[1], "valkey"))
postgres.start()
valkey.start()
print(json.dumps([postgres.child.pid, valkey.child.pid]), flush=True)
time.sleep(60)
"""


def test_the_app_role_owns_nothing_and_cannot_bypass_row_level_security(database: Database) -> None:
    with psycopg.connect(database.app_url) as connection:
        rights = connection.execute(
            "SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = user"
        ).fetchone()
        assert rights == ("todos_app", False, False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine ()")


def test_the_owner_makes_tables_but_is_no_superuser(database: Database) -> None:
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("CREATE TABLE mine ()")
        rights = connection.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = user").fetchone()
    assert rights == (False, False)


def test_letters_beyond_ascii_compare_without_case(database: Database) -> None:
    with psycopg.connect(database.app_url) as connection:
        assert connection.execute("SELECT 'ÄRGER' ILIKE '%ärg%'").fetchone() == (True,)


def test_a_wrong_password_is_refused(postgres: LocalPostgres) -> None:
    url = f"postgresql://todos_app:wrong@127.0.0.1:{postgres.port}/todos"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_a_database_can_be_a_copy_of_another(postgres: LocalPostgres, database: Database) -> None:
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("CREATE TABLE kept ()")
    postgres.create_database("copy", template=database.name)
    try:
        with psycopg.connect(postgres.owner_url("copy")) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    finally:
        postgres.drop_database("copy")


def test_data_and_port_survive_a_crash_and_an_immediate_restart(own_postgres: Callable[[], LocalPostgres]) -> None:
    server = own_postgres()
    with psycopg.connect(server.owner_url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    for _ in range(3):
        server.kill()
        server.start()
    server.stop()
    server.start()
    with psycopg.connect(server.owner_url()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_frozen_server_answers_nobody_and_then_goes_on(own_postgres: Callable[[], LocalPostgres]) -> None:
    server = own_postgres()
    with psycopg.connect(server.app_url(), autocommit=True) as connection:
        connection.execute("SELECT 1")
        server.freeze()
        connection.pgconn.send_query(b"SELECT 2")
        time.sleep(0.3)
        connection.pgconn.consume_input()
        assert connection.pgconn.is_busy()
        server.thaw()
        result = connection.pgconn.get_result()
        assert result
        assert result.get_value(0, 0) == b"2"
        assert connection.pgconn.get_result() is None


def test_a_frozen_server_can_be_stopped(own_postgres: Callable[[], LocalPostgres]) -> None:
    server = own_postgres()
    server.freeze()
    server.stop()
    assert server.child.exit_code == 0


def test_a_stranger_on_the_port_does_not_count_as_the_server(
    own_postgres: Callable[[], LocalPostgres], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = own_postgres()
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.2)
    tmp_path.chmod(0o711)
    server = LocalPostgres(tmp_path / "postgres", stranger.port, durable=False)
    with pytest.raises(StartError, match="could not bind"):
        server.start()
    assert not server.child.alive


def test_passwords_are_for_the_owner_alone(own_postgres: Callable[[], LocalPostgres]) -> None:
    stored = own_postgres()._folder / "passwords.json"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert not stored.with_name("password").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_root_without_user_namespaces_becomes_nobody(
    own_postgres: Callable[[], LocalPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody: tuple[list[str], Account | None] = ([], module.NOBODY)
    monkeypatch.setattr(module, "_disguise", lambda: nobody)
    try:
        module._require_access(module.NOBODY, module.BINARIES / "postgres")
    except StartError as refused:
        pytest.skip(str(refused))
    server = own_postgres()
    assert server.child.alive
    assert Path(f"/proc/{server.child.pid}").stat().st_uid == module.NOBODY.uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_folder_closed_to_nobody_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody: tuple[list[str], Account | None] = ([], module.NOBODY)
    monkeypatch.setattr(module, "_disguise", lambda: nobody)
    tmp_path.chmod(0o700)
    with pytest.raises(StartError, match=f"may not enter {tmp_path}") as refused:
        LocalPostgres(tmp_path / "postgres").start()
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_servers_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pids = json.loads(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
