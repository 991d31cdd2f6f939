"""The rules and dashboards of deploy/observability, and what their expressions ask for."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
OBSERVABILITY = ROOT / "deploy" / "observability"
RULE_FILES = tuple(sorted((OBSERVABILITY / "prometheus").glob("*.yml")))
TEST_FILES = tuple(sorted((OBSERVABILITY / "prometheus" / "tests").glob("*.yml")))
DASHBOARD_FILES = tuple(sorted((OBSERVABILITY / "grafana").glob("*.json")))
RUNBOOK_FOLDER = ROOT / "docs" / "runbooks"
RUNBOOKS = tuple(sorted(RUNBOOK_FOLDER.glob("*.md")))
VARIABLES = {"$namespace": ".*", "$job": ".*", "$__rate_interval": "1m"}
"""What Grafana puts in for its variables, with everything chosen."""

_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "on", "ignoring", "by", "without"})
_LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\bgroup_(?:left|right)\b")
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_SET_OPERATOR = re.compile(r"\s*\b(?:and|or|unless)\b(?:\s+on\s*\(\s*\))?")
_COMPARISON = re.compile(r"\s*(?:==|!=|<=|>=|<|>)\s*[\d.* ]+$")


@functools.cache
def rules() -> list[dict[str, Any]]:
    """Every rule, recording or alerting."""
    documents = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


@functools.cache
def dashboards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARD_FILES}


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def panel_expressions() -> Iterator[tuple[str, str]]:
    """A name and the expression of each query, as Grafana would send it."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']} {target['refId']}", filled_in(target["expr"])


def runbook_queries(page: Path) -> list[str]:
    """The queries that a page tells to ask, one a line."""
    blocks = re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def asked() -> list[str]:
    """Every expression: of rules, panels and runbooks."""
    return [
        *(rule["expr"] for rule in rules()),
        *(expression for _, expression in panel_expressions()),
        *(query for page in RUNBOOKS for query in runbook_queries(page)),
    ]


def filled_in(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def metric_names(expression: str) -> set[str]:
    """The metrics that an expression selects."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", _STRINGS.sub("", expression))
    return set(_NAME.findall(_LISTS.sub("", bare))) - _WORDS


def measured(expression: str) -> list[str]:
    """What an alert compares: the left-hand side of each of its comparisons, `absent` looked into."""
    expression = expression.strip()
    parts = _parts(expression)
    if len(parts) > 1:
        return [side for part in parts for side in measured(part)]
    if _is_enclosed(expression):
        return measured(expression[1:-1])
    if expression.startswith("absent("):
        return [expression.removeprefix("absent(").removesuffix(")")]
    compared = _COMPARISON.sub("", expression)
    assert compared != expression, f"no comparison: {expression}"
    return [compared]


def _parts(expression: str) -> list[str]:
    """Split at the set operators that stand in no parentheses and no string."""
    parts, start = [], 0
    masked = _STRINGS.sub(lambda string: "_" * len(string[0]), expression)
    for operator in _SET_OPERATOR.finditer(masked):
        if not _depth(masked[: operator.start()]):
            parts.append(expression[start : operator.start()])
            start = operator.end()
    return [*parts, expression[start:]]


def _is_enclosed(expression: str) -> bool:
    inner = expression[1:-1]
    return expression.startswith("(") and expression.endswith(")") and not _closes_early(inner)


def _closes_early(inner: str) -> bool:
    return any(_depth(inner[:end]) < 0 for end in range(len(inner) + 1))


def _depth(text: str) -> int:
    bare = _STRINGS.sub("", text)
    return bare.count("(") - bare.count(")")
