"""Promises of the pair, from a token to a row and back, wherever it runs: a test module imports them all.

The module that imports them provides `pair`.
"""

import base64
import http.client
import json
import socket
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from identity import Keyring, parse_key, sign
from tests.pair import Pair

JSON = {"Content-Type": "application/json"}
ABSENT = "/v1/todos/0192f672-b56e-7c11-8f5e-3b1d2a6c9e04"


@pytest.fixture
def alice() -> str:
    return f"alice-{uuid.uuid4()}"


@pytest.fixture
def bob() -> str:
    return f"bob-{uuid.uuid4()}"


def create(pair: Pair, user: str, **fields: Any) -> dict[str, Any]:
    answer = pair.request(user, "POST", "/v1/todos", json={"title": "Buy milk", **fields})
    assert answer.status_code == 201
    created: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/todos/{created['id']}"
    assert answer.headers["etag"] == f'"{created["version"]}"'
    return created


def test_a_todo_is_created_read_replaced_patched_and_deleted(pair: Pair, alice: str) -> None:
    created = create(pair, alice, tags=["home"], due_date="2027-01-31", timezone="Europe/Berlin", priority="high")
    path = f"/v1/todos/{created['id']}"
    assert created["url"] == pair.gateway + path
    read = pair.request(alice, "GET", path)
    assert (read.json(), read.headers["etag"]) == (created, f'"{created["version"]}"')

    replaced = pair.request(alice, "PUT", path, json={**created, "title": "Buy oat milk", "tags": []}).json()
    assert (replaced["title"], replaced["tags"], replaced["created_at"]) == ("Buy oat milk", [], created["created_at"])
    assert replaced["version"] > created["version"]

    patched = pair.request(
        alice,
        "PATCH",
        path,
        content=b'{"completed": true, "due_date": null}',
        headers={"Content-Type": "application/merge-patch+json", "If-Match": f'"{replaced["version"]}"'},
    ).json()
    assert (patched["completed"], patched["due_date"], patched["title"]) == (True, None, "Buy oat milk")
    assert patched["completed_at"] is not None

    stale = pair.request(alice, "DELETE", path, headers={"If-Match": f'"{created["version"]}"'})
    assert (stale.status_code, stale.headers["etag"]) == (412, f'"{patched["version"]}"')
    assert pair.request(alice, "DELETE", path).status_code == 204
    assert pair.request(alice, "GET", path).status_code == 404
    assert pair.request(alice, "DELETE", path).status_code == 404
    [deleted] = pair.request(alice, "GET", "/v1/todos?deleted=true").json()
    assert (deleted["id"], deleted["deleted_at"] is not None) == (created["id"], True)


def test_a_client_that_syncs_hears_of_all_until_everything_is_erased(pair: Pair, alice: str) -> None:
    key, body = (
        {"Idempotency-Key": "one", "Content-Type": "application/json"},
        b'{"title": "Buy milk", "tags": ["home"]}',
    )
    first, again = [pair.request(alice, "POST", "/v1/todos", content=body, headers=key) for _ in range(2)]
    assert (again.status_code, again.content) == (201, first.content)
    assert pair.request(alice, "POST", "/v1/todos", json={"title": "x"}, headers=key).status_code == 422
    assert (
        pair.request(alice, "POST", "/v1/todos", content=body, headers={**key, "Idempotency-Key": ""}).status_code
        == 400
    )
    page = pair.request(alice, "GET", "/v1/changes?limit=1").json()
    assert page["items"] == [first.json()]

    other = create(pair, alice, tags=["home"], due_date="2020-01-01")
    assert pair.request(alice, "GET", "/v1/stats").json()["overdue"] == 1
    assert pair.request(alice, "DELETE", "/v1/todos?tag=home&q=milk").json()["affected"] == 2
    restored = pair.request(alice, "POST", f"/v1/todos/{other['id']}/restore").json()
    assert pair.request(alice, "POST", f"{ABSENT}/restore").status_code == 404
    since = page["next_since"]
    tombstone, back = pair.request(alice, "GET", f"/v1/changes?since={since}").json()["items"]
    assert (tombstone["id"], back) == (first.json()["id"], restored)

    assert pair.request(alice, "DELETE", "/v1/me").status_code == 204
    assert pair.request(alice, "GET", f"/v1/changes?since={since}").status_code == 410
    assert pair.request(alice, "GET", "/v1/changes?since=x").status_code == 422
    assert pair.request(alice, "GET", "/v1/changes").json()["items"] == []
    assert pair.request(alice, "GET", "/v1/stats").json()["tags"] == []


def test_paging_follows_link_to_the_end_and_unchanged_lists_are_304(pair: Pair, alice: str) -> None:
    wanted = [create(pair, alice, title=f"Todo {number}")["id"] for number in range(7)]
    seen: list[str] = []
    path: str | None = "/v1/todos?limit=3&sort=created_at"
    while path:
        page = pair.request(alice, "GET", path)
        seen += [todo["id"] for todo in page.json()]
        path = page.links["next"]["url"] if "next" in page.links else None
    assert seen == wanted
    etag = pair.request(alice, "GET", "/v1/todos").headers["etag"]
    assert etag.startswith('W/"')
    unchanged = pair.request(alice, "GET", "/v1/todos", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", etag)


def test_two_users_hold_their_own_todo_under_one_id(pair: Pair, alice: str, bob: str) -> None:
    path = f"/v1/todos/{uuid.uuid4()}"
    for user in (alice, bob):
        assert pair.request(user, "PUT", path, json={"title": f"of {user}"}).status_code == 201
    for user in (alice, bob):
        assert pair.request(user, "GET", path).json()["title"] == f"of {user}"
    assert pair.request(alice, "DELETE", path).status_code == 204
    assert pair.request(bob, "GET", path).json()["title"] == f"of {bob}"


@pytest.mark.parametrize(
    ("method", "body"), [("GET", None), ("PATCH", {"title": "x"}), ("DELETE", None)], ids=["GET", "PATCH", "DELETE"]
)
def test_anothers_todo_is_404_as_if_it_had_never_been(
    pair: Pair, alice: str, bob: str, method: str, body: dict[str, str] | None
) -> None:
    theirs = create(pair, alice)["id"]

    def answer(todo_id: str) -> tuple[int, str, list[str]]:
        response = pair.request(bob, method, f"/v1/todos/{todo_id}", json=body)
        request_id = response.headers["x-request-id"]
        return response.status_code, response.text.replace(request_id, ""), sorted(response.headers)

    assert answer(theirs) == answer(str(uuid.uuid4()))
    assert answer(theirs)[0] == 404
    assert pair.request(bob, "GET", "/v1/todos").json() == []
    assert pair.request(alice, "GET", f"/v1/todos/{theirs}").status_code == 200


def test_a_put_to_anothers_id_makes_ones_own(pair: Pair, alice: str, bob: str) -> None:
    theirs = create(pair, alice, title="hers")
    path = f"/v1/todos/{theirs['id']}"
    assert pair.request(bob, "PUT", path, json={"title": "his"}).status_code == 201
    assert pair.request(alice, "GET", path).json() == theirs


def test_a_forged_identity_from_outside_is_dropped(pair: Pair, alice: str, bob: str) -> None:
    hers = create(pair, alice)["id"]
    signed = signed_headers(pair, alice, "GET", f"/v1/todos/{hers}")
    forged = {name.decode(): value.decode() for name, value in signed}
    assert pair.request(bob, "GET", f"/v1/todos/{hers}", headers=forged).status_code == 404
    assert pair.request(bob, "GET", "/v1/todos", headers={"X-User-Id": alice}).json() == []


def signed_headers(
    pair: Pair, user: str, method: str, path: str, body: bytes = b"", *, query: str = "", age: int = 0
) -> list[tuple[bytes, bytes]]:
    """What the gateway would send, made with its key."""
    return sign(
        Keyring(dict([parse_key(pair.description["identity_keys"])])),
        method=method,
        path=path.encode(),
        query=query.encode(),
        user_id=user.encode(),
        request_id=str(uuid.uuid4()).encode(),
        body=body,
        now=int(time.time()) - age,
    )


def directly(
    pair: Pair, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes = b""
) -> httpx.Response:
    content_type = [(b"content-type", b"application/json")] if body else []
    return pair.raw(method, pair.todos + target, headers=[*headers, *content_type], content=body)


def refused(answer: httpx.Response) -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code == 401


def test_todos_alone_believes_a_signature_once_for_a_write_and_nothing_else(pair: Pair, alice: str) -> None:
    body = b'{"title": "signed"}'
    headers = signed_headers(pair, alice, "POST", "/v1/todos", body)
    assert directly(pair, "POST", "/v1/todos", headers, body).status_code == 201
    assert refused(directly(pair, "POST", "/v1/todos", headers, body))
    assert len(pair.request(alice, "GET", "/v1/todos").json()) == 1


def test_todos_refuses_what_was_not_signed_for_this_very_request(pair: Pair, alice: str, bob: str) -> None:
    body = b'{"title": "signed"}'

    def fresh() -> list[tuple[bytes, bytes]]:
        return signed_headers(pair, alice, "POST", "/v1/todos", body)

    def changed(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
        return [(key, value if key == name else held) for key, held in fresh()]

    digest = b"sha-256=:" + base64.b64encode(b"0" * 32) + b":"
    assert refused(pair.raw("POST", f"{pair.todos}/v1/todos", content=body))
    assert refused(pair.raw("GET", f"{pair.todos}/v1/todos", headers={"X-User-Id": alice}))
    assert refused(pair.raw("GET", f"{pair.todos}/nowhere"))
    assert refused(pair.raw("GET", f"{pair.todos}/v1/todos", headers={"Authorization": f"Bearer {pair.token(alice)}"}))
    assert refused(directly(pair, "PUT", "/v1/todos", fresh(), body))
    assert refused(directly(pair, "POST", f"/v1/todos/{uuid.uuid4()}", fresh(), body))
    assert refused(directly(pair, "POST", "/v1/todos?limit=1", fresh(), body))
    assert refused(directly(pair, "POST", "/v1/todos", fresh(), b'{"title": "other"}'))
    assert refused(directly(pair, "POST", "/v1/todos", fresh()))
    assert refused(directly(pair, "POST", "/v1/todos", changed(b"x-user-id", bob.encode()), body))
    assert refused(directly(pair, "POST", "/v1/todos", changed(b"x-request-id", b"x"), body))
    assert refused(directly(pair, "POST", "/v1/todos", changed(b"content-digest", digest), body))
    assert refused(directly(pair, "POST", "/v1/todos", [*fresh(), (b"x-user-id", bob.encode())], body))
    expired = signed_headers(pair, alice, "POST", "/v1/todos", body, age=31)
    assert refused(directly(pair, "POST", "/v1/todos", expired, body))
    early = signed_headers(pair, alice, "POST", "/v1/todos", body, age=-8)
    assert refused(directly(pair, "POST", "/v1/todos", early, body))
    assert pair.request(alice, "GET", "/v1/todos").json() == []
    assert pair.request(bob, "GET", "/v1/todos").json() == []


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def test_no_bad_token_reaches_todos(pair: Pair, alice: str) -> None:
    good = pair.token(alice)
    header, claims, signature = good.split(".")
    kid = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
    bad = {
        "expired": pair.token(alice, ttl=-60),
        "not yet valid": pair.token(alice, claims={"nbf": 4102444800}),
        "wrong issuer": pair.token(alice, claims={"iss": "https://evil.example"}),
        "wrong audience": pair.token(alice, aud="other"),
        "no sub": pair.token(alice, claims={"sub": None}),
        "no exp": pair.token(alice, claims={"exp": None}),
        "alg none": f"{encoded({'alg': 'none', 'kid': kid})}.{claims}.",
        "HS256": f"{encoded({'alg': 'HS256', 'kid': kid})}.{claims}.{signature}",
        "unknown kid": f"{encoded({'alg': 'RS256', 'kid': 'unknown'})}.{claims}.{signature}",
        "tampered": f"{header}.{encoded({'sub': 'bob'})}.{signature}",
        "20 KiB long": pair.token(alice, claims={"padding": "x" * 20 * 1024}),
    }
    reached = pair.metric("todos", "todos_requests_total")
    for rule, token in bad.items():
        answer = pair.raw("GET", f"{pair.gateway}/v1/todos", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token"), rule
        assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token"'), rule
    twice = [("Authorization", f"Bearer {good}")] * 2
    answer = pair.raw("GET", f"{pair.gateway}/v1/todos", headers=twice)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_authorization")
    answer = pair.raw("GET", f"{pair.gateway}/v1/todos")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert pair.metric("todos", "todos_requests_total") == reached


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/v1/nothing", {}, 404),
        ("GET", "/v1/todos/", {}, 404),
        ("GET", "/v1/todos/not-a-uuid", {}, 404),
        ("PATCH", "/v1/todos", {}, 405),
        ("POST", "/v1/todos", {"content": b"{"}, 400),
        ("POST", "/v1/todos", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/v1/todos", {"json": {"title": ""}}, 422),
        ("POST", "/v1/todos", {"json": {"title": "x", "owner": "me"}}, 422),
        ("GET", "/v1/todos?limt=1", {}, 422),
        ("GET", "/v1/todos?cursor=abc", {}, 422),
        ("PUT", ABSENT, {"json": {"title": "x"}, "headers": {"If-Match": '"1"'}}, 412),
        ("POST", "/v1/todos", {"content": b"x" * (1 << 20) + b"x"}, 413),
    ],
)
def test_what_breaks_the_contract_is_answered_as_the_contract_says(
    pair: Pair, alice: str, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    headers = {"Content-Type": "application/json", **options.get("headers", {})}
    answer = pair.request(alice, method, path, **{**options, "headers": headers})
    assert answer.status_code == status


def test_a_405_tells_every_method_of_the_path(pair: Pair, alice: str) -> None:
    of_one = f"/v1/todos/{uuid.uuid4()}"
    for path, allowed in [("/v1/todos", "DELETE, GET, HEAD, POST"), (of_one, "DELETE, GET, HEAD, PATCH, PUT")]:
        for method in ("OPTIONS", "TRACE"):
            headers = {"Authorization": f"Bearer {pair.token(alice)}"}
            answer = pair.raw(method, pair.gateway + path, headers=headers)
            assert (answer.status_code, ", ".join(sorted(answer.headers["allow"].split(", ")))) == (405, allowed)


def test_head_answers_as_get_does_without_the_body(pair: Pair, alice: str) -> None:
    """RFC 9110 section 9.3.2."""
    todo = create(pair, alice, title="Buy oat milk")
    differing = {"date", "x-request-id", "ratelimit", "transfer-encoding"}
    for path in ("/v1/todos", f"/v1/todos/{todo['id']}", "/v1/changes", "/v1/stats", "/v1/export"):
        get, head = (pair.request(alice, method, path) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (200, b"")
        assert {n: v for n, v in head.headers.items() if n not in differing} == {
            n: v for n, v in get.headers.items() if n not in differing
        }


def as_it_is(pair: Pair, user: str, line: str, *fields: str) -> tuple[int, Any]:
    """Status and JSON of the response to a request whose every byte is given, but for its token."""
    parts = urlsplit(pair.gateway)
    head = "\r\n".join([line, *fields, f"Authorization: Bearer {pair.token(user)}", "Connection: close", "", ""])
    with socket.create_connection((str(parts.hostname), parts.port)) as connection:
        connection.sendall(head.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, json.loads(response.read())


def test_what_real_clients_send_is_read_signed_and_found(pair: Pair, alice: str) -> None:
    """RFC 9112 sections 3.2 and 3.2.2, RFC 9110 section 7.8; the signature holds in each case."""
    todo = create(pair, alice, title="it's milk")
    address = pair.gateway.removeprefix("http://")
    for line, fields, origin in [
        ("GET /v1/todos HTTP/1.0", (), pair.gateway),
        ("GET /v1/todos?q=it's HTTP/1.1", ("Host: my_host.:8000",), "http://my_host.:8000"),
        (f"GET {pair.gateway}/v1/todos?q='s HTTP/1.1", (f"Host: {address}",), pair.gateway),
        ("GET /v1/todos HTTP/1.1", ("Host: a", "Connection: Upgrade", "Upgrade: h2c", "X_User_Id: bob"), "http://a"),
    ]:
        status, [found] = as_it_is(pair, alice, line, *fields)
        assert (status, found["id"], found["url"]) == (200, todo["id"], f"{origin}/v1/todos/{todo['id']}"), line


def test_a_body_in_a_coding_and_a_patch_of_another_type_are_told_what_is_read(pair: Pair, alice: str) -> None:
    coded = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = pair.request(alice, "POST", "/v1/todos", content=b"{}", headers=coded)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    answer = pair.request(alice, "PATCH", ABSENT, content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.headers["accept-patch"] == "application/json, application/merge-patch+json"


def test_what_one_account_exports_another_imports(pair: Pair, alice: str, bob: str) -> None:
    create(pair, alice, title="Water the plants", due_date="2027-01-31", recurrence="FREQ=WEEKLY")
    create(pair, alice, title="Pay", tags=["home"], priority="urgent")
    exported = pair.request(alice, "GET", "/v1/export", headers={"Accept": "application/json"})
    assert "attachment" in exported.headers["content-disposition"]
    imported = pair.request(bob, "POST", "/v1/import", content=exported.content, headers=JSON)
    assert imported.json() == {"created": 2, "updated": 0}
    again = pair.request(bob, "GET", "/v1/export").json()
    kept = ("id", "title", "tags", "priority", "due_date", "recurrence")
    assert [{name: todo[name] for name in kept} for todo in again] == [
        {name: todo[name] for name in kept} for todo in exported.json()
    ]


def test_completing_a_recurring_todo_brings_the_next_and_links_it(pair: Pair, alice: str) -> None:
    todo = create(pair, alice, title="Water", due_date="2027-01-31", recurrence="FREQ=DAILY")
    patched = pair.request(alice, "PATCH", f"/v1/todos/{todo['id']}", json={"completed": True}).json()
    following = pair.request(alice, "GET", f"/v1/todos/{patched['next_id']}").json()
    assert (following["due_date"], following["completed"]) == ("2027-02-01", False)
    assert pair.request(alice, "GET", "/v1/stats").json()["open"] == 1


def test_one_key_creates_once_and_erasure_leaves_nothing(pair: Pair, alice: str) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first, second = (
        pair.request(alice, "POST", "/v1/todos", json={"title": "once"}, headers=headers) for _ in range(2)
    )
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert pair.request(alice, "DELETE", "/v1/me").status_code == 204
    assert pair.request(alice, "GET", "/v1/todos").json() == []
