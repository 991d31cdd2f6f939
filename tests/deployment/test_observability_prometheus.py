"""A real Prometheus beside the pair under light traffic: no rule and no panel is left without an answer."""

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.deployment import prometheus_rules as observability
from tests.deployment.prometheus_server import HOW, PROMETHEUS, Prometheus, watching
from tests.pair import Pair, running_pair

TIGHT = "user=1000000/60s,user-write=10/60s,auth-failure=1000000/60s"
"""So that one who writes much is refused, and nobody else."""
SECONDS = 60

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(PROMETHEUS is None, reason=f"prometheus {HOW}"),
    pytest.mark.xdist_group("prometheus"),
]


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[Pair, Prometheus]]:
    with tempfile.TemporaryDirectory(prefix="pair-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with running_pair(folder / "local", GATEWAY_RATE_LIMITS=TIGHT) as (pair, _), watching(pair, folder) as server:
            yield pair, server


def send_light_traffic(pair: Pair, user: str) -> None:
    """What a day has: reads, a few writes, mistakes, bad tokens, and one who asks too often."""
    created = pair.request(user, "POST", "/v1/todos", json={"title": "Water the plants"})
    assert created.status_code == 201
    todo = f"/v1/todos/{created.json()['id']}"
    wanted = {
        ("GET", "/v1/todos"): 200,
        ("GET", todo): 200,
        ("GET", "/v1/changes"): 200,
        ("GET", "/v1/stats"): 200,
        ("GET", f"/v1/todos/{uuid4()}"): 404,
        ("DELETE", todo): 204,
    }
    for (method, path), status in wanted.items():
        assert pair.request(user, method, path).status_code == status
    for headers in ({}, {"Authorization": "Bearer e30.e30.e30"}):
        assert pair.raw("GET", f"{pair.gateway}/v1/todos", headers=headers).status_code == 401
    statuses = {pair.request("greedy", "POST", "/v1/todos", json={"title": "More"}).status_code for _ in range(11)}
    assert 429 in statuses


def without_answer(server: Prometheus, expressions: dict[str, str]) -> dict[str, list[float]]:
    """Those that give no number."""
    answers = {name: server.values(expression) for name, expression in expressions.items()}
    return {name: values for name, values in answers.items() if not values or any(map(math.isnan, values))}


def await_answers(pair: Pair, server: Prometheus, expressions: dict[str, str]) -> None:
    deadline = time.monotonic() + SECONDS
    missing = expressions
    while missing := {name: expressions[name] for name in without_answer(server, missing)}:
        assert time.monotonic() < deadline, missing
        send_light_traffic(pair, f"user-{uuid4().hex[:8]}")


def test_every_recording_rule_gives_numbers(watched: tuple[Pair, Prometheus]) -> None:
    pair, server = watched
    await_answers(pair, server, {name: name for name in observability.recorded()})


def test_every_panel_shows_something(watched: tuple[Pair, Prometheus]) -> None:
    pair, server = watched
    await_answers(pair, server, dict(observability.panel_expressions()))


def test_what_every_alert_compares_is_there(watched: tuple[Pair, Prometheus]) -> None:
    pair, server = watched
    sides = {
        f"{alert} {number}": side
        for alert, rule in observability.alerts().items()
        for number, side in enumerate(observability.measured(rule["expr"]))
    }
    await_answers(pair, server, sides)


def test_no_rule_has_an_error_and_no_alert_fires_in_health(watched: tuple[Pair, Prometheus]) -> None:
    pair, server = watched
    await_answers(pair, server, {name: name for name in observability.recorded()})
    found = server.rules()
    assert len(found) == len(observability.rules())
    assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []
    firing = {rule["name"] for rule in found if rule.get("state") == "firing"}
    assert firing == set()


@pytest.mark.parametrize("page", observability.RUNBOOKS, ids=lambda page: page.stem)
def test_every_query_of_a_runbook_can_be_asked(watched: tuple[Pair, Prometheus], page: Path) -> None:
    _, server = watched
    for query in observability.runbook_queries(page):
        server.values(query)
