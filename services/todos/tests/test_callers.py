"""Nothing is answered to a caller that the gateway did not sign for."""

import asyncio
import json
import socket
import time
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from identity import Keyring, sign
from services.todos.tests.assertions import assert_problem
from services.todos.tests.serving import KEYS, Client, Running, running
from todos.http import authentication
from todos.http.authentication import MAX_BODY_BYTES
from todos.schema.limits import QUOTA

TODO = b'{"title": "x"}'
JSON = {"content-type": "application/json"}


def headers_for(**changes: Any) -> list[tuple[bytes, bytes]]:
    request: dict[str, Any] = {
        "keys": KEYS,
        "method": "POST",
        "path": b"/v1/todos",
        "query": b"",
        "user_id": b"alice",
        "request_id": str(uuid4()).encode(),
        "body": TODO,
        "now": int(time.time()),
        **changes,
    }
    return [*sign(**request), (b"content-type", b"application/json")]


async def post(service: Running, headers: Any, target: str = "/v1/todos", body: bytes = TODO) -> httpx.Response:
    return await service.http.post(target, headers=headers, content=body)


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["code"] == "unauthenticated"
    assert answer.json()["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"


def refusals(service: Running, reason: str) -> float:
    return service.registry.get_sample_value("todos_identity_refused_total", {"reason": reason}) or 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": b"bob"}, "signature"),
        ({"method": "PUT"}, "signature"),
        ({"path": b"/v1/todo"}, "signature"),
        ({"query": b"a=1"}, "signature"),
        ({"body": b'{"title": "y"}'}, "digest"),
        ({"body": b""}, "malformed"),
        ({"keys": Keyring({"k1": b"x" * 32})}, "signature"),
        ({"keys": Keyring({"k9": b"k" * 32})}, "unknown_key"),
        ({"now": int(time.time()) - 60}, "expired"),
        ({"now": int(time.time()) + 3600}, "not_yet_valid"),
    ],
)
async def test_a_signature_for_something_else_is_refused(
    service: Running, changes: dict[str, Any], reason: str
) -> None:
    headers = headers_for(**changes)
    if "user_id" in changes:
        headers = [(name, b"alice" if name == b"x-user-id" else value) for name, value in headers]
    assert_refused(await post(service, headers))
    assert refusals(service, reason) == 1


async def test_a_request_without_a_signature_is_refused_whatever_it_asks_for(service: Running) -> None:
    for method, target in [
        ("GET", "/v1/todos"),
        ("GET", "/nope"),
        ("TRACE", "/v1/todos"),
        ("GET", "/docs"),
        ("HEAD", "/"),
    ]:
        answer = await service.http.request(method, target, headers={"x-user-id": "alice"})
        if method == "HEAD":
            assert answer.status_code == 401
        else:
            assert_refused(answer)
    assert refusals(service, "missing") == 5


async def test_a_changed_target_is_refused(service: Running) -> None:
    assert_refused(await post(service, headers_for(), "/v1/todos?a=1"))
    assert_refused(await post(service, headers_for(), "/v1/%74odos"))
    assert_refused(await service.http.put("/v1/todos", headers=headers_for(), content=TODO))


async def test_a_write_is_taken_once(service: Running) -> None:
    headers = headers_for()
    assert (await post(service, headers)).status_code == 201
    assert_refused(await post(service, headers))
    assert refusals(service, "replay") == 1


async def test_of_equal_writes_at_the_same_time_one_is_taken(service: Running) -> None:
    headers = headers_for(request_id=b"0192f7c0-0000-7000-8000-000000000001")
    answers = await asyncio.gather(*(post(service, headers) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [401] * 7


async def test_a_write_is_taken_once_by_all_replicas_and_through_restarts(service: Running, database_url: str) -> None:
    async with running(database_url) as other:
        headers = headers_for()
        answers = await asyncio.gather(*(post(replica, headers) for replica in (service, other) * 4))
        assert sorted(answer.status_code for answer in answers) == [201] + [401] * 7
        assert refusals(service, "replay") + refusals(other, "replay") == 7
    async with running(database_url) as restarted:
        assert_refused(await post(restarted, headers))


async def test_a_write_that_was_refused_is_not_taken_later(alice: Client, database_url: str) -> None:
    """A signature that was overheard is worth nothing, whatever became of the first request."""
    todo = await alice.create()
    target = f"/v1/todos/{todo['id']}"
    await alice.send("DELETE", target)
    refused = alice.signed("PUT", target, b'{"title": "x"}', {"content-type": "application/json"})
    assert (await alice.http.send(refused)).json()["code"] == "deleted"
    await alice.send("POST", f"{target}/restore")
    async with running(database_url) as other:
        again = await other.http.put(target, headers=refused.headers.raw, content=refused.content)
        assert_refused(again)
    assert (await alice.get(target)).json()["title"] == todo["title"]


async def test_an_import_that_was_refused_is_not_taken_later(alice: Client, superuser: psycopg.Connection) -> None:
    await alice.create()
    set_count = b"UPDATE user_state SET live_count = %s WHERE user_id = %s"
    superuser.execute(set_count, [QUOTA, alice.user])
    body = json.dumps([{"id": str(uuid4()), "title": "x"}]).encode()
    imported = alice.signed("POST", "/v1/import", body, {"content-type": "application/json"})
    assert (await alice.http.send(imported)).json()["code"] == "quota"
    superuser.execute(set_count, [1, alice.user])
    assert_refused(await alice.http.send(imported))
    assert len((await alice.get("/v1/todos")).json()) == 1


async def test_signatures_that_have_ended_are_forgotten_with_the_next_write(
    alice: Client, superuser: psycopg.Connection
) -> None:
    for _ in range(3):
        await alice.create()
    superuser.execute(
        b"UPDATE seen_signature SET expires = expires - interval '3 minutes' WHERE user_id = %s", [alice.user]
    )
    await alice.create()
    assert superuser.execute(b"SELECT count(*) FROM seen_signature WHERE user_id = %s", [alice.user]).fetchone() == (1,)


async def test_a_read_may_be_sent_again(service: Running) -> None:
    headers = headers_for(method="GET", body=b"")
    for _ in range(2):
        assert (await service.http.get("/v1/todos", headers=headers)).status_code == 200


async def test_a_proven_caller_sees_the_gateways_request_id(alice: Client) -> None:
    request = alice.signed("GET", "/v1/nope", b"", {})
    answer = await alice.http.send(request)
    assert answer.headers["x-request-id"] == request.headers["x-request-id"]
    assert answer.json()["instance"] == f"urn:uuid:{request.headers['x-request-id']}"


async def test_a_body_of_more_than_a_mebibyte_is_refused_before_it_is_read_whole(service: Running) -> None:
    answer = await post(service, headers_for(), body=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["code"] == "content_too_large"
    assert answer.headers["connection"] == "close"


async def answer_to_head(service: Running, headers: Any, length: int) -> int:
    """The status of the response to a request of whose body no byte is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    fields = b"".join(b"%s: %s\r\n" % field for field in headers)
    writer.write(b"POST /v1/todos HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n" % (length, fields))
    try:
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


async def test_no_byte_of_a_body_is_read_before_its_user_is_proven(service: Running) -> None:
    forged = headers_for(keys=Keyring({"k1": b"x" * 32}))
    assert await answer_to_head(service, forged, MAX_BODY_BYTES) == 401
    assert await answer_to_head(service, [], MAX_BODY_BYTES) == 401
    assert await answer_to_head(service, headers_for(), MAX_BODY_BYTES + 1) == 413


async def test_bodies_that_one_user_holds_back_leave_room_for_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_BODIES_BYTES", 4 * MAX_BODY_BYTES)
    monkeypatch.setattr(authentication, "MAX_BODIES_BYTES_PER_USER", MAX_BODY_BYTES)
    async with running(database_url) as service, asyncio.TaskGroup() as group:
        stalled = group.create_task(answer_to_head(service, headers_for(), MAX_BODY_BYTES))
        while not service.registry.get_sample_value("todos_body_bytes"):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
        refused = await post(service, headers_for(), body=TODO)
        assert_problem(refused, 429, "rate_limited")
        assert refused.json()["violated-policies"] == ["user-buffer"]
        assert (await post(service, headers_for(user_id=b"bob"))).status_code == 201
        stalled.cancel()
        while service.registry.get_sample_value("todos_body_bytes"):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
        assert (await post(service, headers_for())).status_code == 201


async def test_requests_without_a_body_take_no_room_however_many_a_user_sends_at_once(
    alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    todo = await alice.create()
    answers = await asyncio.gather(*(alice.get(f"/v1/todos/{todo['id']}") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_body_of_a_mebibyte_is_read(alice: Client) -> None:
    answer = await alice.send("POST", "/v1/todos", body=b" " * (MAX_BODY_BYTES - len(TODO)) + TODO, headers=JSON)
    assert answer.status_code == 201


async def test_a_client_that_leaves_in_the_middle_of_a_body_changes_nothing(service: Running, alice: Client) -> None:
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(b"POST /v1/todos HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert (await alice.get("/v1/todos")).json() == []


async def test_users_with_the_longest_ids_are_served_and_kept_apart(service: Running) -> None:
    """An id may have 512 characters; with the longest title it still fits every index."""
    one, other = (Client(service.http, "=u8:" + "x" * 507 + last) for last in "ab")
    for client in (one, other):
        key = {"idempotency-key": f"{client.user[-1]}" * 255}
        fields = {"title": "\U00010400" * 200, "description": client.user[-1], "tags": ["\U00010400" * 50]}
        created = [await client.send("POST", "/v1/todos", json_body=fields, headers=key) for _ in range(2)]
        assert [answer.status_code for answer in created] == [201, 201]
        assert created[0].json() == created[1].json()
    for client in (one, other):
        for sort in ("title", "-created_at", "due_date", "priority", "order", "updated_at"):
            [listed] = (await client.send("GET", f"/v1/todos?sort={sort}")).json()
            assert listed["description"] == client.user[-1]
        assert (await client.send("DELETE", "/v1/me")).status_code == 204
    too_long = await Client(service.http, "x" * 513).send("GET", "/v1/todos")
    assert_refused(too_long)
