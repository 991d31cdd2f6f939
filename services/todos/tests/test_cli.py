"""The console script."""

import json
import re
import signal
import subprocess

from devtools.fixtures import Database
from runtime.build import build_of
from services.todos.tests.console import SCRIPT, environment, todos
from services.todos.tests.serving import KEYS_TEXT, migrate_database


def test_wrong_settings_are_told_all_at_once_and_never_shown() -> None:
    ended = todos("serve", database_url="mysql://u:5ecret@h/d", identity_keys="k1:5ecret", port="70000", pool_size="0")
    assert ended.returncode == 2
    assert [line.partition(":")[0] for line in sorted(ended.stderr.splitlines())] == [
        "TODOS_DATABASE_URL",
        "TODOS_POOL_SIZE",
        "TODOS_PORT",
        "entry 1 of TODOS_IDENTITY_KEYS",
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
    assert todos("check", database_url=app, identity_keys=KEYS_TEXT).returncode == 1
    migrated = todos("migrate", database_url=app, migration_database_url=owner)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert "brought from nothing to" in migrated.stdout
    checked = todos("check", database_url=app, identity_keys=KEYS_TEXT)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert re.fullmatch(r"settings: good\ndatabase at 127.0.0.1:[0-9]+: role and schema are in order\n", checked.stdout)
    settings = environment(
        database_url=app, identity_keys=KEYS_TEXT, host="127.0.0.1", port="0", admin_port="0", drain_seconds="0"
    )
    with subprocess.Popen([SCRIPT, "serve"], env=settings, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout
        lines, messages, awaited = [], [], {"listening", "database ready"}
        for line in serving.stdout:
            lines.append(json.loads(line))
            messages.append(lines[-1]["message"])
            if messages[-1] in awaited and awaited <= set(messages):
                serving.send_signal(signal.SIGTERM)
        assert serving.wait() == 0
    assert (messages[0], messages[-1]) == ("starting", "stopped")
    assert build_of("todos")._asdict().items() <= lines[0].items()


def test_serving_as_an_owner_ends_with_code_2_and_a_reason(database: Database) -> None:
    migrate_database(database.server, database.name)
    for url, reason in ((database.owner_url, "owns the table"), (database.superuser_url, "superuser")):
        assert todos("check", database_url=url, identity_keys=KEYS_TEXT).returncode == 2
        ended = todos("serve", database_url=url, identity_keys=KEYS_TEXT, host="127.0.0.1", port="0", admin_port="0")
        assert ended.returncode == 2
        assert reason in ended.stdout
