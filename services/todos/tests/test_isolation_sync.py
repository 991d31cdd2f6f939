"""The layers between users on every route of sync, undo and erasure: own, another's, absent."""

import json
import re
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from runtime.problems import ProblemError
from services.todos.tests.assertions import path
from services.todos.tests.serving import Client
from services.todos.tests.sessions import session_of, todos_of
from todos.database.pool import Database
from todos.domain.fields import TodoFields
from todos.store.bulk import delete_all, empty_bin, restore_all
from todos.store.changes import ChangesQuery, read_changes
from todos.store.erasure import erase
from todos.store.idempotency import IdempotentRequest
from todos.store.list_query import Filters
from todos.store.stats import read_stats
from todos.store.sync_position import BEGINNING

EVERYTHING = Filters(frozenset(), {})


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    text = re.sub(r'"at":"[^"]*"', "", answer.text)
    return answer.status_code, headers, text.replace(answer.headers["x-request-id"], "")


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
                ("DELETE", "/v1/todos?deleted=true"),
                ("POST", "/v1/todos/restore"),
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


@pytest.mark.usefixtures("row_level_security_alone")
async def test_row_level_security_alone_syncs_restores_and_erases_nothing_of_another_user(
    one_connection: Database, superuser: psycopg.Connection
) -> None:
    alice, bob = f"alice-{uuid4()}", f"bob-{uuid4()}"
    request = IdempotentRequest("k", bytes(32))
    hers = await todos_of(one_connection, alice).create(TodoFields(title="hers", tags=["hers"]))
    gone = await todos_of(one_connection, alice).create(TodoFields(title="gone"))
    emptied = await todos_of(one_connection, alice).create(TodoFields(title="emptied"))
    await todos_of(one_connection, alice).delete(emptied.id, None)
    await empty_bin(session_of(one_connection, alice), EVERYTHING)
    await todos_of(one_connection, alice).delete(gone.id, None)
    await todos_of(one_connection, alice).create_once(TodoFields(title="kept"), request, "http://localhost")
    of_alice = (
        "SELECT (SELECT array_agg(t ORDER BY id) FROM todo t WHERE user_id = %(u)s), "
        "(SELECT array_agg(b) FROM tombstone b WHERE user_id = %(u)s), "
        "(SELECT array_agg(s) FROM user_state s WHERE user_id = %(u)s), "
        "(SELECT array_agg(i) FROM idempotency i WHERE user_id = %(u)s)"
    )
    before = superuser.execute(of_alice.encode(), {"u": alice}).fetchone()
    todos_of_bob, scope = todos_of(one_connection, bob), session_of(one_connection, bob)
    for todo_id in (hers.id, gone.id):
        with pytest.raises(ProblemError) as refused:
            await todos_of_bob.restore(todo_id)
        assert refused.value.code == "not_found"
    assert (await read_changes(scope, ChangesQuery(BEGINNING, 500))).rows == []
    assert (await read_stats(scope))["total"] == 0
    for change in (delete_all, restore_all, empty_bin):
        assert (await change(scope, EVERYTHING)).affected == 0
    his = await todos_of_bob.create_once(TodoFields(title="his"), request, "http://localhost")
    found = (await read_changes(scope, ChangesQuery(BEGINNING, 500))).rows
    assert [row.id for row in found] == [json.loads(his.answer)["id"]]
    assert (await read_stats(scope))["tags"] == []
    for change in (delete_all, restore_all, delete_all, empty_bin):
        assert (await change(scope, EVERYTHING)).affected == 1
    await erase(scope)
    assert superuser.execute(of_alice.encode(), {"u": alice}).fetchone() == before
