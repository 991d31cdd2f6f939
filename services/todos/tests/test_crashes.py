"""Killed in the middle of writes: what was acknowledged is there, and a retry makes no second one."""

import asyncio
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from devtools.parts import answers
from devtools.postgres import LocalPostgres
from devtools.processes import LOOPBACK, Child, free_port, wait_until
from devtools.testing.serving import http_client
from services.todos.tests.console import SCRIPT, environment
from services.todos.tests.serving import KEYS_TEXT, Client, migrate_database

ROUNDS = 2
"""Of each kind of crash."""
WRITERS = 8
USERS = ("alice", "bob")
MOST_ACKNOWLEDGED = 40
"""Before the crash, in one round."""
START_SECONDS = 30


class Stack:
    """The service as a process of its own, and its database; both may be killed."""

    def __init__(self, server: LocalPostgres, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._port, self._admin_port = free_port(), free_port()
        self.url = f"http://{LOOPBACK}:{self._port}"
        self.service = self._start()

    def _start(self) -> Child:
        settings = environment(
            database_url=self.server.app_url(),
            identity_keys=KEYS_TEXT,
            host=LOOPBACK,
            port=str(self._port),
            admin_port=str(self._admin_port),
            pool_size=str(WRITERS),
        )
        child = Child("todos", [SCRIPT, "serve"], self._folder / "todos.log", environment=settings)
        ready = answers(f"http://{LOOPBACK}:{self._admin_port}/healthz/ready")
        wait_until(lambda: ready(child), child, START_SECONDS)
        return child

    def crash_service(self) -> None:
        self.service.kill()

    def crash_database(self) -> None:
        """Every process of the server, wherever its statement is."""
        self.server.freeze()
        self.server.kill()

    def crash_backend(self) -> None:
        """As where memory runs out: PostgreSQL ends every other process too, and recovers by itself."""
        with closing(psycopg.connect(self.server.superuser_url(), autocommit=True)) as connection:
            victims = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'todos'")
            os.kill(victims.fetchall()[0][0], signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT pg_sleep(30)")

    def recover(self) -> None:
        """Start again what does not run."""
        if not self.server.child.alive:
            self.server.start()
        if not self.service.alive:
            self.service = self._start()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(psycopg.connect(self.server.superuser_url(), autocommit=True)) as connection:
            return connection.execute(sql.encode()).fetchall()


@dataclass
class Stream:
    """Writes under keys; a todo's title is its key."""

    http: httpx.AsyncClient
    acknowledged: dict[str, str] = field(default_factory=dict)
    """The id under each key."""
    unsure: set[str] = field(default_factory=set)
    progress: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def send(self, key: str) -> bool:
        """Whether it was acknowledged."""
        user = Client(self.http, key.partition("-")[0])
        try:
            answer = await user.send("POST", "/v1/todos", json_body={"title": key}, headers={"idempotency-key": key})
        except httpx.TransportError:
            return False
        if answer.status_code == 503:
            return False
        assert answer.status_code == 201, answer.text
        assert answer.json()["title"] == key
        assert self.acknowledged.setdefault(key, answer.json()["id"]) == answer.json()["id"]
        return True

    async def write(self, prefix: str, crashed: asyncio.Event) -> None:
        for number in itertools.count():
            key = f"{prefix}-{number}"
            if not await self.send(key):
                self.unsure.add(key)
                return
            self.progress.release()
            if crashed.is_set():
                return

    async def run_until(self, crash: Callable[[], None], chance: random.Random, name: str) -> None:
        """Write from all sides, and crash somewhere in between."""
        crashed = asyncio.Event()
        self.progress = asyncio.Semaphore(0)
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(self.write(f"{USERS[number % len(USERS)]}-{name}-{number}", crashed))
            for _ in range(chance.randint(1, MOST_ACKNOWLEDGED)):
                await self.progress.acquire()
            await asyncio.to_thread(crash)
            crashed.set()

    async def send_again(self, key: str) -> None:
        """Until it is acknowledged; while the database recovers, each attempt waits for it inside the service."""
        while not await self.send(key):
            pass


@pytest.fixture
def stack(own_postgres: Callable[[], LocalPostgres], tmp_path: Path) -> Iterator[Stack]:
    server = own_postgres()
    migrate_database(server, "todos")
    started = Stack(server, tmp_path)
    yield started
    started.service.kill()


async def test_what_was_acknowledged_outlives_a_crash_and_a_retry_makes_no_second_one(stack: Stack) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - shown where it fails
    chance = random.Random(seed)
    crashes = [stack.crash_service, stack.crash_database, stack.crash_backend] * ROUNDS
    async with http_client(base_url=stack.url, timeout=30) as http:
        stream = Stream(http)
        interrupted = 0
        for number, crash in enumerate(chance.sample(crashes, len(crashes))):
            await stream.run_until(crash, chance, str(number))
            stack.recover()
            interrupted += len(stream.unsure)
            for key in sorted(stream.unsure):
                await stream.send_again(key)
            stream.unsure.clear()
            there = stack.query("SELECT title, id::text FROM todo")
            assert dict(stream.acknowledged) == dict(there)
            assert len(there) == len(stream.acknowledged)
            for key in chance.sample(sorted(stream.acknowledged), 10):
                await stream.send_again(key)
        assert interrupted
        assert len(stack.query("SELECT FROM todo")) == len(stream.acknowledged)
        counted = Counter(key.partition("-")[0] for key in stream.acknowledged)
        states = stack.query("SELECT user_id, live_count FROM user_state")
        assert dict(states) == counted
