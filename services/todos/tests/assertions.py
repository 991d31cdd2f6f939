"""What tests of the service expect of its answers."""

from datetime import datetime
from typing import Any

import httpx

from services.todos.tests.serving import Client


def path(todo: dict[str, Any]) -> str:
    return f"/v1/todos/{todo['id']}"


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["status"] == status
    assert answer.json()["type"] == "about:blank"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"


def assert_unavailable(answer: httpx.Response, code: str = "database_unavailable") -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, code), answer.text
    assert int(answer.headers["retry-after"]) > 0


async def until_available(client: Client) -> httpx.Response:
    """Request until the database is back; each request waits for a connection by itself."""
    while (answer := await client.get("/v1/todos")).status_code == 503:
        assert_unavailable(answer)
    return answer


def in_milliseconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000
