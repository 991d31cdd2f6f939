"""The rules of Prometheus: each alert has its page and its tests, and asks for what the services export."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deployment import prometheus_rules as observability
from tests.pair import Pair

HEADINGS = ["For users", "To confirm", "What to do", "When to escalate"]
NOT_OURS = {"up"}
"""What Prometheus itself records of each target."""

pytestmark = pytest.mark.xdist_group("pair")


def cases(alert: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((observability.OBSERVABILITY / "prometheus" / "tests" / f"{alert}.yml").read_text())
    return [case for test in document["tests"] for case in test["alert_rule_test"] if case["alertname"] == alert]


@pytest.mark.parametrize("alert", observability.alerts())
def test_an_alert_says_how_grave_it_is_and_what_it_means(alert: str) -> None:
    rule = observability.alerts()[alert]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert all(rule["annotations"].values())


@pytest.mark.parametrize("alert", observability.alerts())
def test_an_alert_has_a_runbook_of_four_parts(alert: str) -> None:
    rule = observability.alerts()[alert]
    page = observability.ROOT / rule["annotations"]["runbook_url"]
    assert page == observability.RUNBOOK_FOLDER / f"{alert}.md"
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("page", observability.RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_has_its_alert_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    assert page.stem in observability.alerts()
    links = re.findall(r"\]\(([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert observability.runbook_queries(page)


@pytest.mark.parametrize("alert", observability.alerts())
def test_an_alert_has_a_test_that_fires_it_and_one_that_does_not(alert: str) -> None:
    assert {bool(case["exp_alerts"]) for case in cases(alert)} == {True, False}


def test_nothing_asks_for_a_metric_that_is_not_there(pair: Pair) -> None:
    text = "".join(pair.raw("GET", f"{pair.description[f'{job}_admin']}/metrics").text for job in ("gateway", "todos"))
    families = [family for family in text_string_to_metric_families(text) if family.type != "unknown"]
    known = observability.recorded() | NOT_OURS
    for family in families:
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        known |= {family.name + suffix for suffix in suffixes}
    asked = {name for expression in observability.asked() for name in observability.metric_names(expression)}
    assert asked
    assert asked - known == set()


def test_every_recorded_series_is_used() -> None:
    used = {name for expression in observability.asked() for name in observability.metric_names(expression)}
    assert observability.recorded() <= used


@pytest.mark.parametrize(
    ("expression", "names", "sides"),
    [
        ("a > 1", {"a"}, ["a"]),
        ('a{b="c or d"} / e > 14.4 * 0.001', {"a", "e"}, ['a{b="c or d"} / e']),
        ("(a > 1 and b:c > 2) or absent(up{x=~'y'})", {"a", "b:c", "up"}, ["a", "b:c", "up{x=~'y'}"]),
        ("(sum by (n) (a) or 0 * b) == 0", {"a", "b"}, ["(sum by (n) (a) or 0 * b)"]),
        ("rate(a[5m]) / on (n) group_left sum by (n) (b) > 0.1", {"a", "b"}, None),
    ],
)
def test_an_expression_is_read_as_prometheus_does(expression: str, names: set[str], sides: list[str] | None) -> None:
    assert observability.metric_names(expression) == names
    if sides:
        assert observability.measured(expression) == sides
