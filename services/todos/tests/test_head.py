"""HEAD answers as GET does, without the body."""

import httpx
import pytest

from services.todos.tests.relay import relay
from services.todos.tests.serving import Client, Running, running

PASSING = frozenset({"x-request-id", "date"})
"""Headers that differ between any two answers."""
TODO = "{todo}"
"""Stands in a target for the id of a todo that is there."""


def headers_of(answer: httpx.Response) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in answer.headers.multi_items() if name not in PASSING)


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/v1/todos", {}, 200),
        ("/v1/todos?limit=1", {}, 200),
        ("/v1/todos", {"if-none-match": "*"}, 304),
        ("/v1/todos?nope=1", {}, 422),
        (f"/v1/todos/{TODO}", {}, 200),
        (f"/v1/todos/{TODO}", {"if-none-match": "*"}, 304),
        ("/v1/todos/0192f7c0-0000-7000-8000-00000000000a", {}, 404),
        ("/v1/todos/no-uuid", {}, 404),
        ("/v1/changes", {}, 200),
        ("/v1/changes?since=x", {}, 422),
        ("/v1/stats", {}, 200),
        ("/v1/import", {}, 405),
        ("/v1/nothing", {}, 404),
    ],
)
async def test_head_has_the_status_and_the_headers_of_get(
    alice: Client, target: str, headers: dict[str, str], status: int
) -> None:
    """RFC 9110 section 9.3.2, `Content-Length` included."""
    todo, _ = await alice.create(), await alice.create()
    target = target.replace(TODO, todo["id"])
    get, head = await alice.get(target, headers), await alice.send("HEAD", target, headers=headers)
    assert (head.status_code, head.content) == (status, b"")
    assert get.status_code == status
    assert headers_of(head) == headers_of(get)
    assert status == 304 or int(head.headers["content-length"]) == len(get.content)


@pytest.mark.parametrize("accept", ["application/json", "text/calendar", "text/csv"])
async def test_head_of_an_export_has_its_headers_and_reads_nothing(database_url: str, accept: str) -> None:
    async with relay(database_url) as relayed, running(relayed.url, pool_size=1) as service:
        alice = service.user()
        await alice.create()
        get = await alice.get("/v1/export?priority=none", {"accept": accept})
        before = relayed.turns
        head = await alice.send("HEAD", "/v1/export?priority=none", headers={"accept": accept})
        assert relayed.turns == before
    assert (head.status_code, head.content) == (200, b"")
    assert sorted([*headers_of(head), ("transfer-encoding", "chunked")]) == headers_of(get)


@pytest.mark.parametrize(("query", "accept", "status"), [("?sort=title", "*/*", 422), ("", "text/html", 406)])
async def test_head_of_an_export_that_cannot_be_had_is_refused(
    alice: Client, query: str, accept: str, status: int
) -> None:
    for method in ("GET", "HEAD"):
        assert (await alice.send(method, f"/v1/export{query}", headers={"accept": accept})).status_code == status


async def test_head_is_signed_as_head_and_may_be_sent_again(service: Running, alice: Client) -> None:
    head, get = (alice.signed(method, "/v1/todos", b"", {}) for method in ("HEAD", "GET"))
    for _ in range(2):
        assert (await alice.http.send(head)).status_code == 200
    for method, signed in (("GET", head), ("HEAD", get)):
        answer = await service.http.request(method, "/v1/todos", headers=signed.headers)
        assert answer.status_code == 401
