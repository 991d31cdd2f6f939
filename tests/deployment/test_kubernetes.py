"""The manifests of deploy/k8s: every overlay and component renders, is valid, and keeps its promises."""

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from tests.deployment.kubernetes_checks import CHECKS, Check
from tests.deployment.kubernetes_faults import HOLES, PLANTED, Fault
from tests.deployment.kubernetes_manifests import BY_HAND, FOLDER, OVERLAYS, ROOT, Manifests, named, rendered
from tests.deployment.kubernetes_policies import OTHERS, entering, leaving, pods, reachable
from tests.deployment.kubernetes_rules import COPY, prometheus_rule

requires_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
SERVED = ("todos", "todos-migrate", "todos-purge")
OUTSIDE = ("internet", "internet6", "private network")
EVERYWHERE = {
    ("ingress", "gateway", "TCP/8000"),
    ("gateway", "todos", "TCP/8001"),
    ("gateway", "internet", "TCP/443"),
    ("gateway", "internet6", "TCP/443"),
    ("prometheus", "gateway", "TCP/9000"),
    ("prometheus", "todos", "TCP/9001"),
    *((one, "dns", port) for one in ("gateway", *SERVED) for port in ("TCP/53", "UDP/53")),
}
PATHS = {
    "local": EVERYWHERE
    | {("gateway", "redis", "TCP/6379")}
    | {(one, "postgres", "TCP/5432") for one in SERVED},
    "production": EVERYWHERE
    | {("gateway", other, "TCP/6379") for other in OUTSIDE}
    | {(one, other, "TCP/5432") for one in SERVED for other in OUTSIDE},
}  # fmt: skip
"""All that the design draws, and nothing else."""


@pytest.mark.external
@requires_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_overlay_keeps_its_promise(overlay: str, check: Check) -> None:
    assert list(check(rendered(overlay))) == []


@pytest.mark.external
@requires_kubectl
@pytest.mark.parametrize("overlay", PATHS)
def test_the_network_lets_through_what_the_design_draws_and_nothing_else(overlay: str) -> None:
    assert paths_of(rendered(overlay)) == paths(overlay)


def paths_of(manifests: Manifests) -> list[set[tuple[str, str, str]]]:
    """All paths; those that the ways out alone leave open, and the ways in: each wall has to hold by itself."""
    ours = {one.name for one in pods(manifests)}
    out = {path for path in leaving(manifests) if path[0] in ours}
    into = {path for path in entering(manifests) if path[1] in ours}
    return [reachable(manifests), out, into]


def paths(overlay: str) -> list[set[tuple[str, str, str]]]:
    drawn = PATHS[overlay]
    ours = {name for path in drawn for name in path[:2]} - {other.name for other in OTHERS}
    return [drawn, {path for path in drawn if path[0] in ours}, {path for path in drawn if path[1] in ours}]


@pytest.mark.external
@requires_kubectl
def test_every_component_is_in_an_overlay_that_is_checked() -> None:
    texts = [(FOLDER / "overlays" / name / "kustomization.yaml").read_text() for name in ("local", "production")]
    used = {
        Path(line).name
        for text in texts
        for line in yaml.safe_load(text.replace("components/ingress", "components/gateway-api"))["components"]
    }
    assert used | {"ingress"} == {folder.name for folder in (FOLDER / "components").iterdir()}
    assert named(rendered(BY_HAND), "HTTPRoute", "gateway")
    assert named(rendered("production"), "Ingress", "gateway")


@pytest.mark.external
@requires_kubectl
def test_a_changed_setting_changes_the_name_that_the_pods_follow() -> None:
    config = {one["metadata"]["name"] for one in rendered("local") if one["kind"] == "ConfigMap"}
    other = {one["metadata"]["name"] for one in rendered("production") if one["kind"] == "ConfigMap"}
    assert {name.rpartition("-")[0] for name in config} == {"gateway", "todos", "postgres-roles"}
    assert len({name for name in config | other if name.startswith("gateway-")}) == 2


def test_the_rules_are_those_of_the_observability_folder() -> None:
    assert COPY.read_text() == prometheus_rule(), "run: .venv/bin/python -m tests.deployment.kubernetes_rules"


def test_the_rules_keep_their_meaning_in_the_copy() -> None:
    sources = sorted((ROOT / "deploy" / "observability" / "prometheus").glob("*.yml"))
    groups = [group for source in sources for group in yaml.safe_load(source.read_text())["groups"]]
    assert yaml.safe_load(COPY.read_text())["spec"]["groups"] == groups


def test_the_database_roles_are_those_of_compose() -> None:
    roles = FOLDER / "components" / "stores" / "roles.sql"
    assert roles.read_text() == (ROOT / "deploy" / "compose" / "roles.sql").read_text()


@pytest.mark.external
@requires_kubectl
@pytest.mark.parametrize(
    ("check", "overlay", "plant"),
    [pytest.param(check, overlay, plant, id=f"{check.__name__}: {fault}") for check, overlay, fault, plant in PLANTED],
)
def test_a_planted_fault_is_found(check: Check, overlay: str, plant: Fault) -> None:
    manifests = copy.deepcopy(rendered(overlay))
    plant(manifests)
    assert list(check(manifests))


def test_every_check_has_a_planted_fault() -> None:
    assert {check for check, *_ in PLANTED} == set(CHECKS)


@pytest.mark.external
@requires_kubectl
@pytest.mark.parametrize("plant", [pytest.param(plant, id=fault) for fault, plant in HOLES])
def test_a_planted_hole_in_the_network_is_found(plant: Fault) -> None:
    manifests = copy.deepcopy(rendered("local"))
    plant(manifests)
    assert paths_of(manifests) != paths("local")
