"""Three walls between users: the statement, the key, and row-level security."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from runtime.problems import ProblemError
from services.todos.tests.isolation import rows_of
from services.todos.tests.serving import Client
from services.todos.tests.sessions import session_of, todos_of
from todos.database.command import Command, Statement
from todos.database.pool import Database
from todos.database.user_session import Transaction
from todos.domain.fields import TodoFields
from todos.http.declared import declared_routes
from todos.http.query import list_query
from todos.http.routes import READ, api


async def setting_left_on_the_connection(database: Database) -> tuple[str | None, int]:
    async with database.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT nullif(current_setting('app.user_id', true), ''), (SELECT count(*) FROM todo)"
        )
        row = await cursor.fetchone()
    assert row
    return row[0], row[1]


def committing(command: Command[None]) -> Callable[[Transaction], Awaitable[None]]:
    return lambda transaction: transaction.commit(command)


async def test_two_users_may_choose_the_same_id(alice: Client, bob: Client) -> None:
    target = f"/v1/todos/{uuid4()}"
    for client, title in ((alice, "hers"), (bob, "his")):
        assert (await client.send("PUT", target, json_body={"title": title})).status_code == 201
    assert (await alice.send("DELETE", target)).status_code == 204
    assert (await bob.get(target)).json()["title"] == "his"
    assert [todo["title"] for todo in (await bob.get("/v1/todos")).json()] == ["his"]
    assert (await bob.get("/v1/todos?deleted=true")).json() == []


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_anothers_todo_is_answered_as_one_that_never_was(alice: Client, bob: Client, method: str) -> None:
    todo = await alice.create()
    body = {"title": "x"} if method == "PATCH" else None
    answers = []
    for todo_id in (todo["id"], str(uuid4())):
        answer = await bob.send(
            method, f"/v1/todos/{todo_id}", json_body=body, headers={"if-match": f'"{todo["version"]}"'}
        )
        instance = answer.json()["instance"]
        shown = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
        answers.append((answer.status_code, shown, answer.text.replace(instance, "")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert (await alice.get(f"/v1/todos/{todo['id']}")).json() == todo


@pytest.mark.usefixtures("row_level_security_alone")
async def test_row_level_security_alone_shows_and_changes_nothing_of_another_user(one_connection: Database) -> None:
    alice, bob = f"alice-{uuid4()}", f"bob-{uuid4()}"
    todos_of_alice, todos_of_bob = todos_of(one_connection, alice), todos_of(one_connection, bob)
    hers = await todos_of_alice.create(TodoFields(title="hers"))
    his = await todos_of_bob.create(TodoFields(title="his"))
    assert [row.id for row in (await todos_of_bob.page(list_query(b"", bob))).rows] == [his.id]
    for attempt in (
        todos_of_bob.get(hers.id),
        todos_of_bob.patch(hers.id, {"title": "taken"}, None),
        todos_of_bob.delete(hers.id, None),
    ):
        with pytest.raises(ProblemError) as refused:
            await attempt
        assert refused.value.code == "not_found"
    _, created = await todos_of_bob.put(hers.id, TodoFields(title="own"), None, None)
    assert created
    assert json.loads((await todos_of_alice.get(hers.id)).document)["title"] == "hers"


def requests(todo_id: str) -> list[tuple[str, str, Any]]:
    """One of every route, with a body."""
    todo = {"title": "x", "due_date": "2030-01-01", "recurrence": "FREQ=DAILY"}
    one = "/v1/todos/{todo_id}"
    return [
        *(
            (method, path, None)
            for path in ("/v1/todos", one, "/v1/changes", "/v1/stats")
            for method in ("GET", "HEAD")
        ),
        ("PATCH", one, {"completed": True}),
        ("DELETE", one, None),
        ("POST", f"{one}/restore", None),
        ("PUT", one, todo),
        ("POST", "/v1/todos", todo),
        ("POST", "/v1/import", [{**todo, "id": todo_id}]),
        *((method, "/v1/export", None) for method in READ),
        ("POST", "/v1/todos/restore", None),
        ("DELETE", "/v1/todos", None),
        ("DELETE", "/v1/me", None),
    ]


@pytest.mark.usefixtures("row_level_security_alone")
async def test_row_level_security_alone_holds_on_every_route(
    alice: Client, bob: Client, superuser: psycopg.Connection
) -> None:
    hers = await alice.create(title="only hers", due_date="2030-01-01", recurrence="FREQ=DAILY")
    before = rows_of(superuser, alice.user)
    sent = requests(hers["id"])
    for method, template, body in sent:
        answer = await bob.send(method, template.format(todo_id=hers["id"]), json_body=body)
        assert answer.status_code < 500
        assert "only hers" not in answer.text
    assert rows_of(superuser, alice.user) == before
    declared = {(method, route.path) for route in declared_routes(api) for method in route.methods or ()}
    assert {(method, template) for method, template, _ in sent} == declared


async def test_no_row_can_be_written_for_another_user(one_connection: Database) -> None:
    alice, bob = f"alice-{uuid4()}", f"bob-{uuid4()}"
    await todos_of(one_connection, alice).create(TodoFields(title="hers"))
    for sql in (
        f"INSERT INTO user_state VALUES ('{alice}x', 1, 0)",
        f"INSERT INTO user_state VALUES ($1, 1, 0) ON CONFLICT (user_id) DO UPDATE SET user_id = '{alice}x'",
    ):
        names = ("user_id",) if "$1" in sql else ()
        command = Command(Statement(sql.encode(), names, lambda: None, ()))
        await todos_of(one_connection, bob).create(TodoFields(title="his"))
        with pytest.raises(InsufficientPrivilege):
            await session_of(one_connection, bob).write(committing(command))


async def test_the_users_setting_never_survives_on_a_reused_connection(
    one_connection: Database, superuser: psycopg.Connection
) -> None:
    user = f"alice-{uuid4()}"
    alice = todos_of(one_connection, user)
    row = await alice.create(TodoFields(title="x"))
    assert await setting_left_on_the_connection(one_connection) == (None, 0)
    await alice.page(list_query(b"", user))
    assert await setting_left_on_the_connection(one_connection) == (None, 0)
    with pytest.raises(ProblemError):
        await alice.patch(str(uuid4()), {}, None)
    assert await setting_left_on_the_connection(one_connection) == (None, 0)
    broken = Command(Statement(b"SELECT 1/0", (), int, ()))
    with pytest.raises(psycopg.errors.DivisionByZero):
        await session_of(one_connection, user).read(broken)
    with pytest.raises(psycopg.errors.DivisionByZero):
        await session_of(one_connection, user).write(lambda transaction: transaction.commit(broken))
    assert await setting_left_on_the_connection(one_connection) == (None, 0)
    with superuser.transaction():
        superuser.execute("SELECT FROM user_state WHERE user_id = %s FOR UPDATE", [user])
        writing = asyncio.create_task(alice.patch(row.id, {"title": "y"}, None))
        with psycopg.connect(superuser.info.dsn, password=superuser.info.password, autocommit=True) as watcher:
            blocked = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'todos'"
            while not watcher.execute(blocked).rowcount:  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await setting_left_on_the_connection(one_connection) == (None, 0)
    assert json.loads((await alice.get(row.id)).document)["title"] == "x"


def test_an_unset_user_sees_nothing_and_may_write_nothing(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM todo").fetchall() == []
        assert connection.execute("SELECT * FROM user_state").fetchall() == []
        with pytest.raises(InsufficientPrivilege):
            connection.execute("INSERT INTO user_state VALUES ('', 1, 0)")
