"""Whatever is done in whatever order, a follower of the changes holds what the table holds."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date
from typing import Any, ClassVar
from uuid import uuid4

import psycopg
import pytest
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from devtools.fixtures import Database as EmptyDatabase
from runtime.problems import Code, ProblemError
from services.todos.tests.serving import migrate_database, small_pool
from services.todos.tests.sessions import session_of, todos_of
from todos.database.pool import Database, open_database
from todos.database.user_session import UserSession
from todos.domain.fields import TodoFields
from todos.schema.check import open_when_fit
from todos.schema.purge import purge
from todos.settings import PurgeSettings
from todos.store.bulk import Affected, delete_all, empty_bin, restore_all
from todos.store.changes import ChangesQuery, read_changes
from todos.store.erasure import erase
from todos.store.idempotency import IdempotentRequest
from todos.store.list_query import Filters
from todos.store.sync_position import BEGINNING, SyncPosition

MOST_PAGES = 500
"""More than all that one run can have written, a change a page."""

FILTERS = st.sampled_from([Filters(frozenset(), {}), Filters(frozenset({"completed"}), {"completed": True})])
PICKS = st.integers(0, 1000)


@dataclass
class World:
    """A database, and the loop that its pool lives on."""

    runner: asyncio.Runner
    database: Database
    superuser: psycopg.Connection
    purging: PurgeSettings

    def run[Result](self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.superuser.execute(sql.encode(), values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def world(database: EmptyDatabase) -> Iterator[World]:
    migrate_database(database.server, database.name, maintenance=True)
    url = SecretStr(database.app_url)
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        psycopg.connect(database.superuser_url, autocommit=True) as superuser,
    ):
        stack = AsyncExitStack()
        opened = runner.run(stack.enter_async_context(open_database(url, **small_pool(statement_seconds=5))))
        runner.run(open_when_fit(opened, url))
        purging = PurgeSettings(maintenance_database_url=SecretStr(database.maintenance_url))
        yield World(runner, opened, superuser, purging)
        runner.run(stack.aclose())


async def attempt[Result](work: Awaitable[Result]) -> Result | Code:
    """What came out of it, or the code of the problem."""
    try:
        return await work
    except ProblemError as problem:
        return problem.code


@dataclass
class Follower:
    """What a client holds that takes in the changes a page at a time."""

    limit: int
    since: SyncPosition = BEGINNING
    held: dict[str, int] = field(default_factory=dict)
    last: int = 0

    async def step(self, scope: UserSession) -> bool:
        page = await attempt(read_changes(scope, ChangesQuery(self.since, self.limit)))
        if isinstance(page, str):
            assert page == "sync_reset"
            assert self.since != BEGINNING, "a first sync is never reset"
            self.since, self.held, self.last = BEGINNING, {}, 0
            return True
        for row in page.rows:
            assert row.version > self.last, "in order, and once each"
            self.last = row.version
            if row.deleted_at is None:
                self.held[row.id] = row.version
            else:
                self.held.pop(row.id, None)
        self.since = page.next_since
        return page.has_more

    async def catch_up(self, scope: UserSession) -> None:
        for _ in range(MOST_PAGES):
            if not await self.step(scope):
                return
        raise AssertionError("there is always more")


class Syncing(RuleBasedStateMachine):
    """One user's writes in any order, and two followers that look in at any time."""

    world: ClassVar[World]

    @initialize()
    def begin(self) -> None:
        self.user = f"user-{uuid4()}"
        self.scope = session_of(self.world.database, self.user)
        self.todos = todos_of(self.world.database, self.user)
        self.followers = [Follower(1), Follower(3)]
        self.ids: list[str] = []
        self.number = 0
        self.highest = 0
        self.keys: dict[int, str] = {}

    def pick(self, number: int) -> str:
        return self.ids[number % len(self.ids)]

    def is_live(self, todo_id: str) -> bool | None:
        """None where it was purged."""
        rows = self.world.query(
            "SELECT deleted_at IS NULL FROM todo WHERE user_id = %s AND id = %s", self.user, todo_id
        )
        return rows[0][0] if rows else None

    def took(self, *versions: int) -> None:
        """Numbers without gap: of the first write they begin anywhere above all before."""
        for version in versions:
            assert version == self.number + 1 if self.number else version > self.highest
            self.number = version
            self.highest = version

    def state(self) -> tuple[int, int]:
        rows = self.world.query("SELECT seq, live_count FROM user_state WHERE user_id = %s", self.user)
        return rows[0] if rows else (0, 0)

    @rule(completed=st.booleans())
    def create(self, completed: bool) -> None:  # noqa: FBT001 - Hypothesis gives it by name
        row = self.world.run(self.todos.create(TodoFields(title="x", completed=completed)))
        self.ids.append(row.id)
        self.took(row.version)

    @rule(key=st.integers(0, 2))
    def create_with_a_key(self, key: int) -> None:
        request = IdempotentRequest(str(key), bytes(32))
        known = self.world.run(self.todos.create_once(TodoFields(title="x"), request, "http://localhost"))
        if key in self.keys:
            assert known.answer == self.keys[key]
        else:
            self.keys[key] = known.answer
            self.ids.append(json.loads(known.answer)["id"])
            self.took(known.version)

    @rule(pick=PICKS)
    def put(self, pick: int) -> None:
        todo_id = self.pick(pick) if self.ids and pick % 3 else str(uuid4())
        live = self.is_live(todo_id)
        put = self.world.run(attempt(self.todos.put(todo_id, TodoFields(title="put"), None, None)))
        if isinstance(put, str):
            assert (put, live) == ("deleted", False)
            return
        row, created = put
        assert created == (live is None)
        self.ids.append(todo_id)
        self.took(row.version)
        latest, _ = self.state()
        if latest > row.version:  # it was completed: its unchanged successor is deleted under the number after it
            gone = self.world.query(
                "SELECT version FROM todo WHERE user_id = %s AND version > %s AND deleted_at IS NOT NULL",
                self.user,
                row.version,
            )
            self.took(*(version for (version,) in gone))

    @precondition(lambda self: self.ids)
    @rule(pick=PICKS)
    def change(self, pick: int) -> None:
        todo_id = self.pick(pick)
        live = self.is_live(todo_id)
        row = self.world.run(attempt(self.todos.patch(todo_id, {"title": str(pick)}, None)))
        if isinstance(row, str):
            assert (row, bool(live)) == ("not_found", False)
            return
        assert live
        self.took(row.version)

    @rule()
    def complete_a_recurring_one(self) -> None:
        fields = TodoFields.model_validate(
            {"title": "r", "due_date": date(2026, 1, 1).isoformat(), "recurrence": "FREQ=DAILY"}
        )
        row = self.world.run(self.todos.create(fields))
        done = self.world.run(self.todos.patch(row.id, {"completed": True}, None))
        next_id = json.loads(done.document)["next_id"]
        assert next_id
        self.ids += [row.id, next_id]
        self.took(row.version, done.version, done.version + 1)

    @precondition(lambda self: self.ids)
    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        todo_id = self.pick(pick)
        live = self.is_live(todo_id)
        refused = self.world.run(attempt(self.todos.delete(todo_id, None)))
        assert (refused, bool(live)) in (("not_found", False), (None, True))
        if live:
            self.took(self.number + 1)

    @precondition(lambda self: self.ids)
    @rule(pick=PICKS)
    def restore(self, pick: int) -> None:
        todo_id = self.pick(pick)
        live = self.is_live(todo_id)
        row = self.world.run(attempt(self.todos.restore(todo_id)))
        if isinstance(row, str):
            assert (row, live) == ("not_found", None)
            return
        assert row.deleted_at is None
        if not live:
            self.took(row.version)

    @rule(filters=FILTERS, change=st.sampled_from([delete_all, restore_all, empty_bin]))
    def change_many(
        self, filters: Filters, change: Callable[[UserSession, Filters], Coroutine[Any, Any, Affected]]
    ) -> None:
        affected, _ = self.world.run(change(self.scope, filters))
        self.took(*range(self.number + 1, self.number + 1 + affected))

    @rule(share=st.integers(1, 3))
    def purge(self, share: int) -> None:
        for table in ("todo", "tombstone"):
            self.world.query(
                f"UPDATE {table} SET deleted_at = now() - interval '91 days' WHERE user_id = %s"
                " AND deleted_at IS NOT NULL AND version %% %s = 0",
                self.user,
                share,
            )
        list(purge(self.world.purging))

    @rule(pick=st.integers(0, 4))
    def erase_now_and_then(self, pick: int) -> None:
        if pick == 0:
            self.world.run(erase(self.scope))
            self.number = 0
            self.keys = {}

    @rule(follower=st.integers(0, 1))
    def follow_one_page(self, follower: int) -> None:
        self.world.run(self.followers[follower].step(self.scope))

    @rule(follower=st.integers(0, 1))
    def catch_up(self, follower: int) -> None:
        self.world.run(self.followers[follower].catch_up(self.scope))
        self.holds_the_table(self.followers[follower])

    def holds_the_table(self, follower: Follower) -> None:
        rows = self.world.query(
            "SELECT id::text, version FROM todo WHERE user_id = %s AND deleted_at IS NULL", self.user
        )
        assert follower.held == dict(rows)

    @invariant()
    def the_state_is_true(self) -> None:
        rows = self.world.query("SELECT version, deleted_at IS NULL FROM todo WHERE user_id = %s", self.user)
        versions = [version for version, _ in rows]
        assert len(set(versions)) == len(versions)
        assert max(versions, default=0) <= self.number
        assert self.state() == (self.number, sum(live for _, live in rows))

    def teardown(self) -> None:
        for follower in self.followers:
            self.world.run(follower.catch_up(self.scope))
            self.holds_the_table(follower)


def test_a_follower_ends_with_exactly_what_is_there_whatever_was_done(world: World) -> None:
    class SyncingHere(Syncing):
        pass

    SyncingHere.world = world
    run_state_machine_as_test(
        SyncingHere,
        settings=settings(
            max_examples=25, stateful_step_count=40, deadline=None, derandomize=True, database=None, print_blob=False
        ),
    )
