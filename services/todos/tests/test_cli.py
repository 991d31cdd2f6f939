"""The console script."""

import json
import signal
import subprocess

import pytest

from devtools.fixtures import Database
from services.todos.tests.console import SCRIPT, environment, todos
from services.todos.tests.serving import KEYS_TEXT, migrate_database
from todos.cli import main


@pytest.mark.parametrize("command", ["serve", "check", "migrate"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "TODOS_DATABASE_URL" in capsys.readouterr().out


def test_wrong_settings_are_told_all_at_once_and_never_shown() -> None:
    ended = todos("serve", database_url="mysql://u:5ecret@h/d", identity_keys="k1:5ecret", port="70000", pool_size="0")
    assert ended.returncode == 2
    assert [line.partition(":")[0] for line in sorted(ended.stderr.splitlines())] == [
        "TODOS_DATABASE_URL",
        "TODOS_IDENTITY_KEYS",
        "TODOS_POOL_SIZE",
        "TODOS_PORT",
    ]
    assert "5ecret" not in ended.stderr
    ended = todos("migrate", database_url="")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "TODOS_DATABASE_URL: is required",
        "TODOS_MIGRATION_DATABASE_URL: is required",
    ]


def test_migrate_check_and_serve_from_an_empty_database_to_an_orderly_end(database: Database) -> None:
    app, owner = database.app_url, database.owner_url
    assert todos("check", database_url=app).returncode == 1
    migrated = todos("migrate", database_url=app, migration_database_url=owner)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert "brought from nothing to" in migrated.stdout
    assert todos("check", database_url=app).returncode == 0
    settings = environment(
        database_url=app, identity_keys=KEYS_TEXT, host="127.0.0.1", port="0", admin_port="0", drain_seconds="0"
    )
    with subprocess.Popen([SCRIPT, "serve"], env=settings, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout
        messages = []
        for line in serving.stdout:
            messages.append(json.loads(line)["message"])
            if {"listening", "database ready"} == set(messages):
                serving.send_signal(signal.SIGTERM)
        assert serving.wait() == 0
    assert messages[-1] == "stopped"


def test_serving_as_an_owner_ends_with_code_2_and_a_reason(database: Database) -> None:
    migrate_database(database.server, database.name)
    for url, reason in ((database.owner_url, "owns the table"), (database.superuser_url, "superuser")):
        assert todos("check", database_url=url).returncode == 2
        ended = todos("serve", database_url=url, identity_keys=KEYS_TEXT, host="127.0.0.1", port="0", admin_port="0")
        assert ended.returncode == 2
        assert reason in ended.stdout
