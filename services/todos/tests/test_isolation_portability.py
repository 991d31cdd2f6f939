"""Export, import and succession between users, by row-level security alone."""

import psycopg
import pytest

from services.todos.tests.serving import Client


@pytest.mark.usefixtures("row_level_security_alone")
async def test_an_export_shows_nothing_of_another_user(alice: Client, bob: Client) -> None:
    hers, his = await alice.create(title="hers"), await bob.create(title="his")
    assert (await alice.get("/v1/export")).json() == [hers]
    assert (await bob.get("/v1/export")).json() == [his]


@pytest.mark.usefixtures("row_level_security_alone")
async def test_an_import_touches_nothing_of_another_user(
    alice: Client, bob: Client, superuser: psycopg.Connection
) -> None:
    hers = await alice.create(title="hers")
    before = superuser.execute("SELECT * FROM user_state WHERE user_id = %s", [alice.user]).fetchone()
    answer = await bob.send("POST", "/v1/import", json_body=[{**hers, "title": "his"}])
    assert answer.json() == {"created": 1, "updated": 0}
    assert (await alice.get("/v1/export")).json() == [hers]
    assert superuser.execute("SELECT * FROM user_state WHERE user_id = %s", [alice.user]).fetchone() == before


@pytest.mark.usefixtures("row_level_security_alone")
async def test_a_successor_belongs_to_the_user_of_what_was_completed(
    alice: Client, bob: Client, superuser: psycopg.Connection
) -> None:
    hers = await alice.create(due_date="2999-01-01", recurrence="FREQ=DAILY")
    target = f"/v1/todos/{hers['id']}"
    assert (await bob.send("PATCH", target, json_body={"completed": True})).status_code == 404
    his = {"title": "his", "due_date": "2999-01-01", "recurrence": "FREQ=DAILY"}
    assert (await bob.send("PUT", target, json_body=his)).status_code == 201
    done = (await bob.send("PATCH", target, json_body={"completed": True})).json()
    found = superuser.execute("SELECT user_id FROM todo WHERE id = %s", [done["next_id"]]).fetchall()
    assert found == [(bob.user,)]
    assert (await alice.get("/v1/export")).json() == [hers]
