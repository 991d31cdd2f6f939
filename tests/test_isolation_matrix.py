"""Every route of the document, asked by two users for their own, the other's, and what is not there."""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.contract import operations
from tests.pair import Pair

pytestmark = pytest.mark.xdist_group("pair")

PASSING = frozenset({"x-request-id", "date", "ratelimit"})
"""Headers that differ between any two answers."""

type Answer = tuple[int, str, list[tuple[str, str]]]
type State = dict[str, Any]


@dataclass(frozen=True)
class Holder:
    """A user with a live todo, a deleted one, and the words that are in them alone."""

    pair: Pair
    name: str
    live: str
    deleted: str

    @property
    def since(self) -> str:
        answer: str = self.ask("GET", "/v1/changes").json()["next_since"]
        return answer

    @property
    def cursor(self) -> str:
        [link] = [self.ask("GET", "/v1/todos?limit=1").headers["link"]]
        return str(link).partition("cursor=")[2].partition(">")[0]

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.pair.request(self.name, method, path, **options)

    def state(self) -> State:
        """All that this user can read."""
        answers = {path: self.ask("GET", path) for path in READS}
        return {path: (answer.status_code, answer.content) for path, answer in answers.items()}


READS = (
    "/v1/todos?limit=200",
    "/v1/todos?limit=200&deleted=true",
    "/v1/changes",
    "/v1/stats",
    "/v1/export",
    "/v1/export?deleted=true",
)


def holder(pair: Pair, name: str) -> Holder:
    """A new user of this name, whose every word has the name in it."""
    user = f"{name}-{uuid.uuid4()}"
    ids = []
    for number in range(3):
        fields = {"title": f"{user} {number}", "tags": [f"of {name}"], "description": user, "due_date": "2024-11-08"}
        answer = pair.request(user, "POST", "/v1/todos", json=fields, headers={"Idempotency-Key": f"key-{number}"})
        assert answer.status_code == 201
        ids.append(answer.json()["id"])
    assert pair.request(user, "DELETE", f"/v1/todos/{ids[-1]}").status_code == 204
    return Holder(pair, user, live=ids[0], deleted=ids[-1])


@pytest.fixture
def alice(pair: Pair) -> Holder:
    return holder(pair, "alice")


@pytest.fixture
def bob(pair: Pair) -> Holder:
    return holder(pair, "bob")


@pytest.fixture(params=["alice asks", "bob asks"])
def two(request: pytest.FixtureRequest, alice: Holder, bob: Holder) -> tuple[Holder, Holder]:
    """Who asks, and the other."""
    return (alice, bob) if request.param == "alice asks" else (bob, alice)


def shown(answer: httpx.Response) -> Answer:
    """An answer without what differs between any two."""
    request_id = answer.headers["x-request-id"]
    headers = [(name, value) for name, value in answer.headers.multi_items() if name not in PASSING]
    return answer.status_code, answer.text.replace(request_id, ""), sorted(headers)


# -- routes of one todo: of the caller, of the other, of nobody


@dataclass(frozen=True)
class OfOne:
    """A request for one todo, and the status for one's own and for any other."""

    method: str
    template: str
    own: int
    not_own: int
    options: dict[str, Any]
    on_deleted: int


def of_one(
    method: str, suffix: str = "", *, own: int = 200, not_own: int = 404, on_deleted: int = 404, **options: Any
) -> OfOne:
    return OfOne(method, f"/v1/todos/{{id}}{suffix}", own, not_own, options, on_deleted)


STALE = {"If-Match": '"1"'}
FOR_ONE = [
    of_one("GET"),
    of_one("GET", headers={"If-None-Match": "*"}, own=304),
    of_one("HEAD"),
    of_one("HEAD", headers={"If-None-Match": "*"}, own=304),
    of_one("PUT", json={"title": ""}, own=422, not_own=422, on_deleted=422),
    of_one("PUT", json={"title": "x"}, headers={"If-Match": "*"}, not_own=412, on_deleted=409),
    of_one("PUT", json={"title": "x"}, headers=STALE, own=412, not_own=412, on_deleted=409),
    of_one("PATCH", json={"title": "x"}),
    of_one("PATCH", json={"title": "x"}, headers=STALE, own=412),
    of_one("PATCH", json={"title": ""}, own=422, not_own=422, on_deleted=422),
    of_one("DELETE", own=204),
    of_one("DELETE", headers=STALE, own=412),
    of_one("POST", "/restore", on_deleted=200),
]


@pytest.mark.parametrize("kind", ["live", "deleted"])
@pytest.mark.parametrize("case", FOR_ONE, ids=lambda case: f"{case.method} {case.template} {case.options}")
def test_anothers_todo_is_answered_like_none_at_all(two: tuple[Holder, Holder], case: OfOne, kind: str) -> None:
    asking, other = two
    before = other.state()

    def ask(todo_id: str) -> httpx.Response:
        return asking.ask(case.method, case.template.replace("{id}", todo_id), **case.options)

    theirs, absent = ask(getattr(other, kind)), ask(str(uuid.uuid4()))
    assert shown(theirs) == shown(absent)
    assert theirs.status_code == case.not_own
    assert ask(getattr(asking, kind)).status_code == (case.own if kind == "live" else case.on_deleted)
    assert other.state() == before


def test_a_put_under_anothers_id_makes_a_todo_as_under_a_free_one(two: tuple[Holder, Holder]) -> None:
    asking, other = two
    before = other.state()
    for todo_id in (other.live, other.deleted, str(uuid.uuid4())):
        path = f"/v1/todos/{todo_id}"
        answer = asking.ask("PUT", path, json={"title": "mine"}, headers={"If-None-Match": "*"})
        assert (answer.status_code, answer.headers["location"]) == (201, path)
        assert answer.json()["title"] == "mine"
        assert answer.json()["created_at"] == answer.json()["updated_at"]
        assert asking.ask("DELETE", path).status_code == 204
    assert other.state() == before


# -- routes of many: nothing of the other is in the answer, nothing of the other is touched

type Request = tuple[str, dict[str, Any]]


def plainly(path: str, **options: Any) -> Callable[[Holder, Holder], Request]:
    return lambda _asking, _other: (path, options)


def imported(asking: Holder, other: Holder) -> Request:
    """The other's todos, by the ids they have there."""
    items = [{"id": todo_id, "title": "taken"} for todo_id in (other.live, other.deleted, asking.live)]
    return "/v1/import", {"json": items}


FOR_MANY: list[tuple[str, str, int, Callable[[Holder, Holder], Request]]] = [
    ("GET", "/v1/todos", 200, plainly("/v1/todos?limit=200")),
    ("GET", "/v1/todos", 200, plainly("/v1/todos?limit=200&deleted=true")),
    ("GET", "/v1/todos", 200, lambda _, other: (f"/v1/todos?q={other.name}", {})),
    ("GET", "/v1/todos", 422, lambda _, other: (f"/v1/todos?limit=1&cursor={other.cursor}", {})),
    ("HEAD", "/v1/todos", 200, lambda _, other: (f"/v1/todos?q={other.name}", {})),
    ("HEAD", "/v1/todos", 422, lambda _, other: (f"/v1/todos?limit=1&cursor={other.cursor}", {})),
    ("POST", "/v1/todos", 201, plainly("/v1/todos", json={"title": "x"}, headers={"Idempotency-Key": "key-new"})),
    ("DELETE", "/v1/todos", 200, plainly("/v1/todos")),
    ("DELETE", "/v1/todos", 200, lambda _, other: (f"/v1/todos?q={other.name}", {})),
    ("DELETE", "/v1/todos", 200, plainly("/v1/todos?deleted=true")),
    ("DELETE", "/v1/todos", 200, lambda _, other: (f"/v1/todos?deleted=true&q={other.name}", {})),
    ("POST", "/v1/todos/restore", 200, plainly("/v1/todos/restore")),
    ("POST", "/v1/todos/restore", 200, lambda _, other: (f"/v1/todos/restore?q={other.name}", {})),
    ("GET", "/v1/changes", 200, plainly("/v1/changes")),
    ("GET", "/v1/changes", 410, lambda _, other: (f"/v1/changes?since={other.since}", {})),
    ("HEAD", "/v1/changes", 410, lambda _, other: (f"/v1/changes?since={other.since}", {})),
    ("GET", "/v1/stats", 200, plainly("/v1/stats")),
    ("HEAD", "/v1/stats", 200, plainly("/v1/stats")),
    ("GET", "/v1/export", 200, plainly("/v1/export")),
    ("GET", "/v1/export", 200, plainly("/v1/export?deleted=true")),
    ("GET", "/v1/export", 200, plainly("/v1/export", headers={"Accept": "text/calendar"})),
    ("GET", "/v1/export", 200, plainly("/v1/export", headers={"Accept": "text/csv"})),
    ("HEAD", "/v1/export", 200, plainly("/v1/export")),
    ("POST", "/v1/import", 200, imported),
    ("DELETE", "/v1/me", 204, plainly("/v1/me")),
]


@pytest.mark.parametrize(("method", "template", "status", "build"), FOR_MANY)
def test_nothing_of_another_is_shown_or_touched(
    two: tuple[Holder, Holder],
    method: str,
    template: str,
    status: int,
    build: Callable[[Holder, Holder], Request],
) -> None:
    asking, other = two
    path, options = build(asking, other)
    before = other.state()
    answer = asking.ask(method, path, **options)
    assert path.partition("?")[0] == template
    assert answer.status_code == status
    for word in (other.name, other.live, other.deleted):
        assert word not in answer.text
        assert word not in str(answer.headers)
    assert other.state() == before


def test_the_figures_and_lists_are_those_of_the_caller_alone(two: tuple[Holder, Holder]) -> None:
    asking, other = two
    assert [todo["id"] for todo in asking.ask("GET", "/v1/todos?deleted=true").json()] == [asking.deleted]
    stats = asking.ask("GET", "/v1/stats").json()
    assert (stats["total"], stats["overdue"], len(stats["tags"])) == (2, 2, 1)
    ours = {item["id"] for item in asking.ask("GET", "/v1/changes").json()["items"]}
    assert ours == {todo["id"] for todo in asking.ask("GET", "/v1/todos").json()}
    assert json.loads(asking.ask("GET", f"/v1/todos?q={other.name}").text) == []
    assert asking.ask("DELETE", f"/v1/todos?q={other.name}").json()["affected"] == 0
    assert asking.ask("DELETE", f"/v1/todos?deleted=true&q={other.name}").json()["affected"] == 0
    assert asking.ask("POST", f"/v1/todos/restore?q={other.name}").json()["affected"] == 0
    assert asking.ask("POST", "/v1/import", json=[{"id": other.live, "title": "x"}]).json() == {
        "created": 1,
        "updated": 0,
    }


def test_one_idempotency_key_is_two_keys_for_two_users(alice: Holder, bob: Holder) -> None:
    headers = {"Idempotency-Key": "shared"}
    made = [user.ask("POST", "/v1/todos", json={"title": user.name}, headers=headers) for user in (alice, bob)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert [answer.json()["title"] for answer in made] == [alice.name, bob.name]


def asked_for() -> Iterator[tuple[str, str]]:
    yield from ((case.method, case.template) for case in FOR_ONE)
    yield from ((method, template) for method, template, _, _ in FOR_MANY)


def test_no_route_of_the_document_is_missing_here() -> None:
    assert set(asked_for()) == {(method, template) for method, template, _ in operations()}
