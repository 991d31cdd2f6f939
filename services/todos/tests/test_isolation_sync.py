"""The walls between users on every route of sync, undo and erasure: own, another's, absent."""

import itertools
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from runtime.problems import ProblemError
from services.todos.tests.assertions import path
from services.todos.tests.isolation import without_first_wall
from services.todos.tests.serving import Client
from services.todos.tests.sessions import session_of, todos_of
from todos.database.command import Statement
from todos.database.pool import Database, open_database
from todos.domain.fields import TodoFields
from todos.schema.check import open_when_fit
from todos.schema.models import TABLES
from todos.store import bulk_delete, changes, erasure, list_statements, statements, stats
from todos.store.bulk_delete import delete_all, delete_statement
from todos.store.changes import ChangesQuery, read_changes
from todos.store.erasure import erase
from todos.store.idempotency import IdempotentRequest
from todos.store.list_query import Filters
from todos.store.stats import read_stats
from todos.store.sync_position import BEGINNING

EVERYTHING = Filters(frozenset(), {})
MODULES = (changes, erasure, stats)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    url = SecretStr(database_url)
    async with open_database(url, pool_size=1, statement_seconds=5) as opened:
        await open_when_fit(opened, url)
        yield opened


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, headers, answer.text.replace(answer.headers["x-request-id"], "")


ROUTES_OF_ONE: list[tuple[str, str, Any, int]] = [
    ("GET", "", None, 200),
    ("PUT", "", {"title": "x"}, 200),
    ("PATCH", "", {"title": "x"}, 200),
    ("DELETE", "", None, 204),
    ("POST", "/restore", None, 200),
]


@pytest.mark.parametrize("deleted", [False, True], ids=["live", "deleted"])
@pytest.mark.parametrize(("method", "suffix", "body", "status"), ROUTES_OF_ONE)
async def test_a_route_of_one_todo_answers_of_anothers_as_of_an_absent_one(
    alice: Client, bob: Client, method: str, suffix: str, body: Any, status: int, *, deleted: bool
) -> None:
    own, hers = await bob.create(), await alice.create()
    if deleted:
        await alice.send("DELETE", path(hers))
    before = (await alice.get("/v1/changes")).json(), (await alice.get("/v1/todos?deleted=true")).json()
    assert (await bob.send(method, path(own) + suffix, json_body=body)).status_code == status
    headers = {"if-none-match": '"0"'} if method == "PUT" else {}
    of_hers, of_absent = [
        await bob.send(method, f"/v1/todos/{todo_id}{suffix}", json_body=body, headers=headers)
        for todo_id in (hers["id"], str(uuid4()))
    ]
    if method == "PUT":
        assert (of_hers.status_code, of_absent.status_code) == (201, 201)
    else:
        assert of_hers.status_code == 404
        assert shown(of_hers) == shown(of_absent)
    assert ((await alice.get("/v1/changes")).json(), (await alice.get("/v1/todos?deleted=true")).json()) == before


async def test_routes_of_all_todos_answer_the_same_whatever_another_user_has(alice: Client, bob: Client) -> None:
    async def asked() -> list[tuple[int, dict[str, str], str]]:
        return [
            shown(await bob.send(method, target))
            for method, target in (
                ("GET", "/v1/todos"),
                ("GET", "/v1/todos?deleted=true"),
                ("GET", "/v1/changes"),
                ("GET", "/v1/stats"),
                ("GET", "/v1/export"),
                ("DELETE", "/v1/todos"),
                ("DELETE", "/v1/me"),
            )
        ]

    before = await asked()
    hers, gone = await alice.create(tags=["a"]), await alice.create()
    await alice.send("DELETE", path(gone))
    assert await asked() == before
    assert (await alice.get("/v1/todos")).json() == [hers]
    assert [todo["id"] for todo in (await alice.get("/v1/todos?deleted=true")).json()] == [gone["id"]]


async def test_a_key_of_another_user_is_no_key(alice: Client, bob: Client) -> None:
    headers = {"idempotency-key": "shared"}
    hers = await alice.send("POST", "/v1/todos", json_body={"title": "x"}, headers=headers)
    his = await bob.send("POST", "/v1/todos", json_body={"title": "other"}, headers=headers)
    assert (hers.status_code, his.status_code) == (201, 201)
    assert hers.json()["id"] != his.json()["id"]


def every_statement() -> list[Statement[Any]]:
    fixed = [value for module in MODULES for value in vars(module).values() if isinstance(value, Statement)]
    assert len(fixed) == 6
    names = sorted(list_statements._CONDITIONS)
    shapes = [frozenset(chosen) for size in range(len(names) + 1) for chosen in itertools.combinations(names, size)]
    return [*fixed, *map(delete_statement, shapes)]


def test_every_statement_is_bound_to_its_user() -> None:
    for statement in every_statement():
        sql = statement.sql.decode()
        number = statement.names.index("user_id") + 1
        for table in TABLES:
            read = sum(sql.count(f"{verb} {table}{end}") for verb in ("FROM", "UPDATE") for end in (" ", "\n"))
            assert sql.count(f"{table}.user_id = ${number}::VARCHAR") >= read, sql


async def test_without_the_first_wall_nothing_of_another_user_is_told_changed_or_erased(
    database: Database, monkeypatch: pytest.MonkeyPatch, superuser: psycopg.Connection
) -> None:
    alice, bob = f"alice-{uuid4()}", f"bob-{uuid4()}"
    request = IdempotentRequest("k", bytes(32))
    hers = await todos_of(database, alice).create(TodoFields(title="hers", tags=["hers"]))
    gone = await todos_of(database, alice).create(TodoFields(title="gone"))
    await todos_of(database, alice).delete(gone.id, None)
    await todos_of(database, alice).create_once(TodoFields(title="kept"), request, lambda _: "hers")
    of_alice = (
        "SELECT (SELECT array_agg(t ORDER BY id) FROM todo t WHERE user_id = %(u)s), "
        "(SELECT array_agg(s) FROM user_state s WHERE user_id = %(u)s), "
        "(SELECT array_agg(i) FROM idempotency i WHERE user_id = %(u)s)"
    )
    before = superuser.execute(of_alice.encode(), {"u": alice}).fetchone()

    for module in (*MODULES, statements):
        for name, value in list(vars(module).items()):
            if isinstance(value, Statement) and name not in ("create", "begin_state", "succeed"):
                assert without_first_wall(value).sql != value.sql, name
                monkeypatch.setattr(module, name, without_first_wall(value))
    monkeypatch.setattr(bulk_delete, "delete_statement", lambda names: without_first_wall(delete_statement(names)))
    cursor = psycopg.RawCursor(superuser)
    cursor.execute(stats.read.sql, [bob])
    counted = cursor.fetchone()
    assert counted
    assert counted[0] >= 2, "for a role that bypasses row-level security the wall is truly gone"

    todos_of_bob, scope = todos_of(database, bob), session_of(database, bob)
    for todo_id in (hers.id, gone.id):
        with pytest.raises(ProblemError) as refused:
            await todos_of_bob.restore(todo_id)
        assert refused.value.code == "not_found"
    assert (await read_changes(scope, ChangesQuery(BEGINNING, 500))).rows == []
    assert (await read_stats(scope))["total"] == 0
    assert await delete_all(scope, EVERYTHING) == 0
    his = await todos_of_bob.create_once(TodoFields(title="his"), request, lambda row: row.id)
    assert [row.id for row in (await read_changes(scope, ChangesQuery(BEGINNING, 500))).rows] == [his.answer]
    assert (await read_stats(scope))["tags"] == []
    assert await delete_all(scope, EVERYTHING) == 1
    await erase(scope)
    assert superuser.execute(of_alice.encode(), {"u": alice}).fetchone() == before
