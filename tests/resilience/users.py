"""A user who works on its todos, and checks every answer against its model."""

import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx

from tests.resilience.client import Client
from tests.resilience.model import Fields, Kind, Model, Write
from tests.resilience.promises import Breaches

LIST, ONE, RESTORE = "/v1/todos", "/v1/todos/{id}", "/v1/todos/{id}/restore"
MOST_TODOS = 40
ENOUGH_TODOS = 5
UNKEYED_SHARE = 0.3
"""Of creations: without a key nothing but the services themselves keeps them from being applied twice."""
METHODS: dict[Kind, str] = {"create": "POST", "put": "PUT", "patch": "PATCH", "replace": "PUT", "delete": "DELETE"}
REPEATED: dict[Kind, HTTPStatus] = {
    "put": HTTPStatus.PRECONDITION_FAILED,
    "patch": HTTPStatus.PRECONDITION_FAILED,
    "replace": HTTPStatus.PRECONDITION_FAILED,
    "delete": HTTPStatus.NOT_FOUND,
}
"""What a write of which the precondition holds only once is answered when it was applied before."""


class User:
    """Does one thing at a time, chosen by `dice`; a write without an answer is sent again until it has one."""

    def __init__(self, client: Client, dice: random.Random, breaches: Breaches) -> None:
        self.model = Model(client.user, breaches)
        self._client = client
        self._dice = dice
        self._count = 0
        self._restored: set[str] = set()
        """Never deleted again: a restore that arrives late would undo that."""
        self._request: dict[str, Any] = {}
        self._again = False

    async def step(self) -> None:
        """One request, or two."""
        if self.model.pending and self._dice.random() < 0.5:
            await self._send()
        elif self.model.pending or self._dice.random() < 0.5:
            await self._choose({self._read_one: 5, self._read_all: 4, self._read_stats: 2, self._read_export: 1})
        else:
            await self._write()

    async def settle(self) -> bool:
        """Send a write that is pending once more; whether none is any longer."""
        if self.model.pending:
            await self._send()
        return self.model.pending is None

    async def check(self) -> bool:
        """Read everything; whether it was answered."""
        return await self._read_all() and await self._read_export()

    async def _write(self) -> None:
        live = len(self.model.live)
        ways: dict[Callable[[], Awaitable[object]], int] = {self._create: 4, self._put: 1}
        if live >= ENOUGH_TODOS:
            ways |= {self._patch: 4, self._replace: 2, self._delete: 2}
        if live > MOST_TODOS:
            ways = {self._delete: 1, self._patch: 1}
        if self.model.deleted:
            ways[self._restore] = 1
        await self._choose(ways)

    async def _choose(self, ways: dict[Callable[[], Awaitable[object]], int]) -> None:
        [way] = self._dice.choices([*ways], [*ways.values()])
        await way()

    async def _create(self) -> None:
        fields, keyed = self._new_fields(), self._dice.random() >= UNKEYED_SHARE
        headers = {"Idempotency-Key": fields["title"]} if keyed else {}
        await self._begin(Write("create", None, fields, repeatable=keyed), LIST, LIST, json=fields, headers=headers)

    async def _put(self) -> None:
        todo_id, fields = str(UUID(int=self._dice.getrandbits(128), version=4)), self._new_fields()
        write = Write("put", todo_id, fields)
        await self._begin(write, f"{LIST}/{todo_id}", ONE, json=fields, headers={"If-None-Match": "*"})

    async def _patch(self) -> None:
        new = self._new_fields()
        patch = {name: new[name] for name in ("title", self._dice.choice([*new])) if name in new}
        todo_id, headers = self._pick()
        fields = {**self.model.live[todo_id].fields, **patch}
        await self._begin(Write("patch", todo_id, fields), f"{LIST}/{todo_id}", ONE, json=patch, headers=headers)

    async def _replace(self) -> None:
        todo_id, headers = self._pick()
        fields = self._new_fields()
        await self._begin(Write("replace", todo_id, fields), f"{LIST}/{todo_id}", ONE, json=fields, headers=headers)

    async def _delete(self) -> None:
        todo_id, headers = self._pick()
        if todo_id not in self._restored:
            await self._begin(Write("delete", todo_id, None), f"{LIST}/{todo_id}", ONE, headers=headers)

    async def _restore(self) -> None:
        todo_id = self._dice.choice([*self.model.deleted])
        self._restored.add(todo_id)
        await self._begin(Write("restore", todo_id, self.model.deleted[todo_id]), f"{LIST}/{todo_id}/restore", RESTORE)

    async def _begin(self, write: Write, path: str, route: str, **options: Any) -> None:
        self._request = {"method": METHODS.get(write.kind, "POST"), "path": path, "route": route, **options}
        self._again = False
        self.model.begin(write)
        await self._send()

    async def _send(self) -> None:
        write = self.model.pending
        assert write
        answer = await self._client.request(**self._request)
        if answer is None:
            self._again = True
            if not write.repeatable:
                self.model.lose()
        elif answer.status_code in (HTTPStatus.OK, HTTPStatus.CREATED):
            self.model.acknowledge(answer.json())
        elif answer.status_code == HTTPStatus.NO_CONTENT and write.kind == "delete":
            self.model.acknowledge_deletion()
        elif self._again and answer.status_code == REPEATED.get(write.kind):
            self._applied_before(write, answer)
        else:
            self._client.unexpected(self._request["method"], self._request["path"], answer)
            self.model.refuse()

    def _applied_before(self, write: Write, answer: httpx.Response) -> None:
        if write.kind == "delete":
            self.model.acknowledge_deletion()
        else:
            self.model.acknowledge_version(int(answer.headers["etag"].strip('"')))

    async def _read_one(self) -> bool:
        if not self.model.live:
            return True
        todo_id = self._dice.choice([*self.model.live])
        answer = await self._read(f"{LIST}/{todo_id}", ONE, {HTTPStatus.NOT_FOUND})
        if answer is not None:
            self.model.check_one(todo_id, answer.json() if answer.is_success else None)
        return answer is not None

    async def _read_all(self) -> bool:
        answer = await self._read(f"{LIST}?limit=200", LIST)
        if answer is not None:
            self.model.check_all(answer.json())
        return answer is not None

    async def _read_export(self) -> bool:
        answer = await self._read("/v1/export", "/v1/export")
        if answer is not None:
            self.model.check_all(answer.json())
        return answer is not None

    async def _read_stats(self) -> bool:
        answer = await self._read("/v1/stats", "/v1/stats")
        if answer is not None:
            self.model.check_count(answer.json()["total"])
        return answer is not None

    async def _read(self, path: str, route: str, others: set[HTTPStatus] | None = None) -> httpx.Response | None:
        answer = await self._client.request("GET", path, route)
        if answer is not None and answer.status_code != HTTPStatus.OK and answer.status_code not in (others or ()):
            self._client.unexpected("GET", path, answer)
            return None
        return answer

    def _pick(self) -> tuple[str, dict[str, str]]:
        """A live todo, and the precondition that lets a write of it be applied once."""
        todo_id = self._dice.choice([*self.model.live])
        version = self.model.live[todo_id].version
        return todo_id, {"If-Match": f'"{version}"'}

    def _new_fields(self) -> Fields:
        self._count += 1
        return {
            "title": f"{self.model.user}/{self._count}",
            "description": "x" * self._dice.choice((0, 20, 400)),
            "completed": self._dice.random() < 0.3,
            "priority": self._dice.choice(("none", "low", "medium", "high", "urgent")),
            "tags": self._dice.sample(("home", "work", "garden", "phone"), self._dice.randrange(3)),
        }
