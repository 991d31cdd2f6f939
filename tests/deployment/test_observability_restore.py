"""A restored database gives no number out again, and holds nobody who was erased."""

import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from devtools.fixtures import Database
from devtools.postgres import BINARIES
from runtime.logs import pseudonym
from services.todos.tests.serving import Client, migrate_database, running
from tests.deployment.operations_page import blocks, commands, section, typed

TITLE = "Restore a database"


@dataclass
class Restoration:
    """The commands of the page, from one database to a copy of an earlier state of it."""

    database: Database
    copy: Database
    folder: Path

    def dump(self) -> None:
        self._typed(commands(TITLE)[0], ADMIN_URL=self.database.superuser_url)

    def restore(self) -> None:
        _, restore, renumber, _ = commands(TITLE)
        self._typed(restore, NEW_ADMIN_URL=self.copy.superuser_url)
        self._sql("renumber", renumber)

    def erase(self, users: str) -> None:
        command = "psql --set=ON_ERROR_STOP=1 --set=erased=2bd806c97f0e00af,… --file=erase.sql"
        assert command in " ".join(section(TITLE).split())
        command = command.replace("2bd806c97f0e00af,…", shlex.quote(users))
        self._sql("erase", f'{command} "$TODOS_MIGRATION_DATABASE_URL"')

    def _sql(self, name: str, command: str) -> None:
        sql = dict(zip(("renumber", "erase"), blocks(TITLE, "sql"), strict=True))
        (self.folder / f"{name}.sql").write_text(sql[name])
        self._typed(command, TODOS_MIGRATION_DATABASE_URL=self.copy.owner_url)

    def _typed(self, command: str, **environment: str) -> None:
        typed(command, self.folder, environment, before=f'PATH="{BINARIES}:$PATH"')


@pytest.fixture
def restoration(database: Database) -> Iterator[Restoration]:
    copy = Database(f"restored_{uuid4().hex[:8]}", database.server)
    database.server.create_database(copy.name)
    with tempfile.TemporaryDirectory() as name:
        yield Restoration(database, copy, Path(name))
    database.server.drop_database(copy.name)


async def followed(user: Client, since: str | None = None) -> dict[str, Any]:
    answer = await user.get(f"/v1/changes?since={since}" if since else "/v1/changes")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    assert not page["has_more"]
    return page


async def is_reset(user: Client, since: str) -> bool:
    answer = await user.get(f"/v1/changes?since={since}")
    return answer.status_code == 410 and answer.json()["code"] == "sync_reset"


async def test_every_client_syncs_again_and_no_number_comes_twice(restoration: Restoration) -> None:
    database, copy = restoration.database, restoration.copy
    migrate_database(database.server, database.name)
    async with running(database.app_url) as service:
        alice, late = service.user(), service.user()
        kept = await alice.create(title="kept")
        early_since = (await followed(alice))["next_since"]
        restoration.dump()
        lost = [await alice.create(title="lost") for _ in range(3)]
        late_todo = await late.create(title="of somebody who came after the dump")
        late_since, lost_since = (await followed(late))["next_since"], (await followed(alice))["next_since"]
    restoration.restore()
    migrate_database(copy.server, copy.name)
    async with running(copy.app_url) as service:
        alice, late = service.user(alice.user), service.user(late.user)
        assert await is_reset(alice, early_since)
        assert await is_reset(alice, lost_since)
        assert await is_reset(late, late_since)
        page = await followed(alice)
        assert [(todo["id"], todo["version"]) for todo in page["items"]] == [(kept["id"], kept["version"])]
        new, late_new = await alice.create(title="new"), await late.create(title="new")
        assert new["version"] > max(todo["version"] for todo in lost)
        assert late_new["version"] > late_todo["version"]
        assert (await followed(alice, page["next_since"]))["items"] == [new]
        assert [await is_reset(alice, since) for since in (early_since, lost_since)] == [True, True]
        assert await is_reset(late, late_since)
        stale = await alice.send(
            "PATCH",
            f"/v1/todos/{kept['id']}",
            json_body={"title": "x"},
            headers={"If-Match": f'"{lost[0]["version"]}"'},
        )
        assert stale.status_code == 412


async def test_who_was_erased_since_is_erased_again_and_nobody_else(restoration: Restoration) -> None:
    database, copy = restoration.database, restoration.copy
    migrate_database(database.server, database.name)
    async with running(database.app_url) as service:
        gone, stays = service.user(f"gone-{uuid4()}"), service.user()
        for user in (gone, stays):
            await user.send("POST", "/v1/todos", json_body={"title": "x"}, headers={"idempotency-key": "k"})
        restoration.dump()
        assert (await gone.send("DELETE", "/v1/me")).status_code == 204
    restoration.restore()
    restoration.erase(f"{pseudonym('nobody')},{pseudonym(gone.user)}")
    with psycopg.connect(copy.superuser_url) as superuser:
        for table in (b"todo", b"idempotency", b"user_state"):
            assert superuser.execute(b"SELECT user_id FROM " + table).fetchall() == [(stays.user,)]
        forced = superuser.execute("SELECT DISTINCT relforcerowsecurity FROM pg_class WHERE relrowsecurity").fetchall()
        assert forced == [(True,)]


async def test_the_owner_cannot_dump_half(restoration: Restoration) -> None:
    migrate_database(restoration.database.server, restoration.database.name)
    with pytest.raises(AssertionError, match="row-level security"):
        restoration._typed(commands(TITLE)[0], ADMIN_URL=restoration.database.owner_url)
