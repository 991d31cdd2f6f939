"""The dashboards of Grafana hold together with themselves and with the rules."""

from itertools import combinations
from typing import Any

import pytest

from tests.deployment import prometheus_rules as observability

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ERROR_BUDGET, SLOW_BUDGET, SLOW_SECONDS = 0.001, 0.01, 0.25
UNITS = {"percentunit", "short", "none", "reqps", "cps", "ops", "s", "bytes"}

every_dashboard = pytest.mark.parametrize("name", observability.dashboards())


def panel(name: str, title: str) -> dict[str, Any]:
    (found,) = [one for one in observability.panels(observability.dashboards()[name]) if one["title"] == title]
    return found


def steps(shown: dict[str, Any]) -> list[float]:
    return [step["value"] for step in shown["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]]


def test_there_is_one_for_symptoms_and_one_for_causes_and_each_leads_to_the_other() -> None:
    dashboards = observability.dashboards()
    assert set(dashboards) == {"pair", "causes"}
    uids = {name: dashboard["uid"] for name, dashboard in dashboards.items()}
    assert [link["url"] for link in dashboards["pair"]["links"]] == [f"/d/{uids['causes']}"]
    assert [link["url"] for link in dashboards["causes"]["links"]] == [f"/d/{uids['pair']}"]


@every_dashboard
def test_datasource_namespace_and_service_are_the_readers_choice(name: str) -> None:
    dashboard = observability.dashboards()[name]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert set(variables) == {"datasource", "namespace", "job"}
    assert variables["datasource"]["type"] == "datasource"
    assert all(variables[one]["allValue"] == ".*" for one in ("namespace", "job"))
    expressions = [target["expr"] for shown in observability.panels(dashboard) for target in shown["targets"]]
    assert [expression for expression in expressions if 'namespace=~"$namespace"' not in expression] == []
    assert [one for one in variables if not any(f"${one}" in text for text in [*expressions, "$datasource"])] == []


@every_dashboard
def test_every_panel_explains_itself_and_asks_the_chosen_datasource(name: str) -> None:
    for shown in observability.panels(observability.dashboards()[name]):
        assert shown["description"].endswith("."), shown["title"]
        assert shown["fieldConfig"]["defaults"]["unit"] in UNITS
        assert [shown["datasource"], *(target["datasource"] for target in shown["targets"])] == [DATASOURCE] * (
            1 + len(shown["targets"])
        )
        assert all(target["legendFormat"] for target in shown["targets"])


@every_dashboard
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    shown = observability.dashboards()[name]["panels"]
    assert len({one["id"] for one in shown}) == len(shown)
    places = [one["gridPos"] for one in shown]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_the_objectives_are_the_same_in_dashboards_and_alerts() -> None:
    alerts = observability.alerts()
    for title in ("Failed, last hour", "Failed, three days"):
        assert steps(panel("pair", title)) == [ERROR_BUDGET]
    for title in ("Slow, last hour", "Slow, three days"):
        assert steps(panel("pair", title)) == [SLOW_BUDGET]
    assert steps(panel("pair", "Duration")) == [SLOW_SECONDS]
    for kind, budget, title in (("Error", ERROR_BUDGET, "Error budget"), ("Latency", SLOW_BUDGET, "Latency budget")):
        burn = panel("pair", f"{title} burn")
        assert all(target["expr"].endswith(f" / {budget}") for target in burn["targets"])
        assert steps(burn) == [1, 6, 14.4]
        for speed, factors in (("Fast", (14.4, 6)), ("Slowly", (3, 1))):
            expression = alerts[f"{kind}BudgetBurns{speed}"]["expr"]
            assert [expression.count(f"> {factor} * {budget}") for factor in factors] == [2, 2]
    slow = [rule["expr"] for rule in observability.rules() if "gateway_slow" in rule.get("record", "")]
    assert all(f'le="{SLOW_SECONDS}"' in expression for expression in slow)


@pytest.mark.parametrize(
    ("title", "alert"),
    [
        ("Places taken", "GatewaySaturated"),
        ("Buffers taken", "GatewaySaturated"),
        ("Users at their share", "UserAtItsShare"),
        ("Age", "GatewayKeysExpire"),
        ("Unavailable", "TodosDatabaseFails"),
        ("Waiting for a connection", "TodosPoolExhausted"),
        ("File descriptors", "FileDescriptorsRunOut"),
    ],
)
def test_a_line_in_a_panel_is_where_its_alert_looks(title: str, alert: str) -> None:
    shown = panel("causes", title)
    assert alert in shown["description"]
    threshold = {"12 * 3600": 43200.0}.get(
        limit := observability.alerts()[alert]["expr"].splitlines()[0].rpartition("> ")[2]
    ) or float(limit)
    assert steps(shown) == [threshold]
