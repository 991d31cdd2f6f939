"""A client that follows the changes, and what it should hold in the end."""

from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from services.todos.tests.serving import Client

MOST_PAGES = 2000
"""More than all that one test writes, a change a page."""


@dataclass
class Follower:
    """Holds the todos that `changes` told of; asks for `limit` at a time."""

    client: Client
    limit: int = 100
    since: str | None = None
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: list[int] = field(default_factory=list)
    resets: int = 0

    async def ask(self) -> httpx.Response:
        query = f"?limit={self.limit}" + (f"&since={self.since}" if self.since else "")
        return await self.client.get(f"/v1/changes{query}")

    async def step(self) -> bool:
        """Take in one page; whether there is more."""
        answer = await self.ask()
        if answer.status_code == 410:
            assert self.since, "a first sync is never reset"
            self.since = None
            self.held = {}
            self.resets += 1
            return True
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert list(page) == ["items", "next_since", "has_more"]
        assert len(page["items"]) <= self.limit
        for item in page["items"]:
            if "title" in item:
                assert item["deleted_at"] is None
                self.held[item["id"]] = item
            else:
                assert list(item) == ["id", "deleted_at", "version"]
                assert item["deleted_at"].endswith("Z")
                self.held.pop(item["id"], None)
            self.versions.append(item["version"])
        self.since = page["next_since"]
        return bool(page["has_more"])

    async def catch_up(self) -> None:
        for _ in range(MOST_PAGES):
            if not await self.step():
                return
        raise AssertionError("there is always more")


def live_versions(superuser: psycopg.Connection, user: str) -> dict[str, int]:
    """What the table holds, past every wall."""
    rows = superuser.execute("SELECT id::text, version FROM todo WHERE user_id = %s AND deleted_at IS NULL", [user])
    return {str(todo_id): int(version) for todo_id, version in rows}


def held_versions(follower: Follower) -> dict[str, int]:
    return {todo_id: todo["version"] for todo_id, todo in follower.held.items()}
