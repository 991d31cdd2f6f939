"""`Idempotency-Key`: asked for twice, created once, answered the same."""

import asyncio
import hashlib
import json

import httpx
import psycopg
import pytest

from services.todos.tests.assertions import assert_problem, path
from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, Running, running
from todos.schema.limits import QUOTA

BODY = b'{"title": "once"}'


async def post(client: Client, key: str, body: bytes = BODY, host: str = "a.example") -> httpx.Response:
    given = {"content-type": "application/json", "idempotency-key": key, "x-forwarded-host": host}
    return await client.send("POST", "/v1/todos", body=body, headers=given)


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, headers, answer.content


def kept(superuser: psycopg.Connection, client: Client) -> int:
    row = superuser.execute("SELECT count(*) FROM idempotency WHERE user_id = %s", [client.user]).fetchone()
    assert row
    return int(row[0])


async def test_the_same_key_with_the_same_bytes_answers_the_stored_201(alice: Client) -> None:
    first = await post(alice, "k")
    assert first.status_code == 201
    todo = first.json()
    assert (await alice.get(path(todo), {"x-forwarded-host": "a.example"})).json() == todo
    await alice.send("PATCH", path(todo), json_body={"title": "changed"})
    again = await post(alice, "k")
    assert shown(again) == shown(first)
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert again.headers["location"] == path(todo)
    assert again.headers["etag"] == f'"{todo["version"]}"'
    assert [listed["title"] for listed in (await alice.get("/v1/todos")).json()] == ["changed"]


async def test_the_stored_answer_is_that_of_a_creation_without_a_key(alice: Client) -> None:
    fields = {
        "title": 'Cœur 😀 "\\',
        "description": "two\nlines",
        "completed": True,
        "priority": "urgent",
        "tags": ["b", "a"],
        "due_date": "2026-03-01T09:30:00.25+02:00",
        "timezone": "Asia/Kathmandu",
        "recurrence": "FREQ=DAILY",
        "order": -5,
    }
    body = json.dumps(fields).encode()
    keyed = (await post(alice, "k", body)).json()
    plain = await alice.create(**fields)
    given_by_the_server = ("id", "url", "completed_at", "created_at", "updated_at", "version")
    assert list(keyed) == list(plain)
    assert [keyed[name] for name in plain if name not in given_by_the_server] == [
        plain[name] for name in plain if name not in given_by_the_server
    ]
    assert keyed["completed_at"] == keyed["created_at"] == keyed["updated_at"]
    assert (await alice.get(path(keyed), {"x-forwarded-host": "a.example"})).json() == keyed
    assert (await post(alice, "k", body)).json() == keyed


async def test_a_retry_from_another_address_gets_the_same_bytes(alice: Client) -> None:
    first = await post(alice, "k", host="a.example")
    assert first.json()["url"].startswith("http://a.example/")
    assert shown(await post(alice, "k", host="b.example")) == shown(first)


async def test_other_bytes_under_the_same_key_are_a_mismatch(alice: Client) -> None:
    await post(alice, "k")
    for body in (b'{"title": "other"}', b'{"title":"once"}'):
        refused = await post(alice, "k", body)
        assert_problem(refused, 422, "idempotency_mismatch")
        assert "errors" not in refused.json()
    assert len((await alice.get("/v1/todos")).json()) == 1


async def test_a_key_belongs_to_its_user(alice: Client, bob: Client) -> None:
    hers, his = await post(alice, "k"), await post(bob, "k", b'{"title": "his"}')
    assert hers.json()["id"] != his.json()["id"]
    assert his.json()["title"] == "his"
    assert [todo["id"] for todo in (await bob.get("/v1/todos")).json()] == [his.json()["id"]]


async def test_twenty_at_once_with_one_key_make_one_todo(database_url: str, superuser: psycopg.Connection) -> None:
    async with running(database_url, pool_size=8) as service:
        alice = service.user()
        answers = await asyncio.gather(*(post(alice, "k") for _ in range(20)))
        assert len({answer.content for answer in answers}) == 1
        assert {answer.status_code for answer in answers} == {201}
        assert len((await alice.get("/v1/todos")).json()) == 1
        assert kept(superuser, alice) == 1
        assert superuser.execute(
            "SELECT seq, live_count FROM user_state WHERE user_id = %s", [alice.user]
        ).fetchone() == (answers[0].json()["version"], 1)


async def test_other_bytes_at_once_wait_and_are_a_mismatch(database_url: str) -> None:
    async with running(database_url, pool_size=8) as service:
        alice = service.user()
        answers = await asyncio.gather(*(post(alice, "k", b'{"title": "%d"}' % n) for n in range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7
        assert len((await alice.get("/v1/todos")).json()) == 1


async def test_a_key_outlives_the_service(database_url: str) -> None:
    async with running(database_url) as service:
        alice = service.user()
        first = await post(alice, "k")
    async with running(database_url) as service:
        again = await post(service.user(alice.user), "k")
        assert shown(again) == shown(first)


async def test_a_creation_whose_answer_was_lost_is_not_made_twice(
    database_url: str, superuser: psycopg.Connection
) -> None:
    async with relay(database_url) as cutting, running(cutting.url, pool_size=1) as service:
        alice = service.user()
        await alice.create()
        cutting.cut = 1
        assert (await post(alice, "k")).status_code == 503
        while (answer := await post(alice, "k")).status_code == 503:
            pass
        assert answer.status_code == 201
        assert (await post(alice, "k")).content == answer.content
        assert len((await alice.get("/v1/todos")).json()) == 2
        assert kept(superuser, alice) == 1


async def test_an_expired_record_counts_as_none_and_is_written_again(
    alice: Client, superuser: psycopg.Connection
) -> None:
    first = await post(alice, "k")
    age = (
        "UPDATE idempotency SET created_at = now() - interval '24 hours' + %s * interval '1 minute' WHERE user_id = %s"
    )
    superuser.execute(age, [1, alice.user])
    assert (await post(alice, "k")).json()["id"] == first.json()["id"]
    superuser.execute(age, [-1, alice.user])
    other = await post(alice, "k", b'{"title": "other"}')
    assert other.status_code == 201
    assert other.json()["id"] != first.json()["id"]
    assert (await post(alice, "k", b'{"title": "other"}')).content == other.content
    assert_problem(await post(alice, "k"), 422, "idempotency_mismatch")
    assert kept(superuser, alice) == 1


async def test_only_what_was_created_is_kept(alice: Client, superuser: psycopg.Connection) -> None:
    assert_problem(await post(alice, "k", b'{"title": ""}'), 422, "invalid")
    todo = await alice.create()
    superuser.execute("UPDATE user_state SET live_count = %s WHERE user_id = %s", [QUOTA, alice.user])
    assert_problem(await post(alice, "k"), 409, "quota")
    assert kept(superuser, alice) == 0
    await alice.send("DELETE", path(todo))
    first = await post(alice, "k")
    assert first.status_code == 201
    assert (await post(alice, "k")).content == first.content, "at the quota again, and yet"


async def test_the_first_write_of_a_user_may_have_a_key(alice: Client) -> None:
    todo = (await post(alice, "k")).json()
    assert (await alice.create())["version"] == todo["version"] + 1


@pytest.mark.parametrize("key", ["!", "~" * 255, '"quoted"', "a,b", "0192f7c0-0000-7000-8000-00000000000a"])
async def test_any_1_to_255_visible_characters_are_a_key(alice: Client, key: str) -> None:
    first = await post(alice, key)
    assert first.status_code == 201
    assert (await post(alice, key)).content == first.content


@pytest.mark.parametrize("key", ["", "a b", "a\tb", "~" * 256, "é"])
async def test_a_malformed_key_is_a_bad_request(alice: Client, key: str) -> None:
    assert_problem(await post(alice, key), 400, "bad_request")
    assert (await alice.get("/v1/todos")).json() == []


async def test_a_repeated_key_is_a_bad_request(alice: Client) -> None:
    request = alice.signed("POST", "/v1/todos", BODY, {"content-type": "application/json", "idempotency-key": "k"})
    fields = [*request.headers.raw, (b"idempotency-key", b"k")]
    answer = await alice.http.send(httpx.Request("POST", request.url, headers=fields, content=BODY))
    assert_problem(answer, 400, "bad_request")


async def test_the_digest_is_of_the_bytes_and_the_record_has_no_more_than_it_needs(
    service: Running, alice: Client, superuser: psycopg.Connection
) -> None:
    todo = (await post(alice, "k")).json()
    row = superuser.execute("SELECT key, digest, version FROM idempotency WHERE user_id = %s", [alice.user]).fetchone()
    assert row == ("k", hashlib.sha256(BODY).digest(), todo["version"])


async def test_a_creation_with_a_key_is_one_round_trip_new_or_again(database_url: str) -> None:
    async with relay(database_url) as counted, running(counted.url, pool_size=1) as service:
        await service.user().create()
        alice = service.user()
        for body, status in ((BODY, 201), (BODY, 201), (b'{"title": "x"}', 422)):
            before = counted.turns
            assert (await post(alice, "k", body)).status_code == status
            assert counted.turns - before == 1
