"""The manifests of deploy/k8s as kustomize renders them, and what the pods in them are."""

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

type Object = dict[str, Any]
type Manifests = list[Object]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "k8s"
VERSION = (ROOT / "VERSION").read_text().strip()
COMPOSE: Object = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCUMENTATION = ROOT / "docs" / "kubernetes.md"
BY_HAND = "by-hand"
"""The production overlay as the documentation has it where secrets are made by hand and routes by the Gateway API."""
OVERLAYS = ("local", "production", BY_HAND)
RENDER_SECONDS = 30


@functools.cache
def rendered(overlay: str) -> Manifests:
    """Every object of an overlay; nobody may change them."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "k8s"
        shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("secrets"))
        _make_secrets(copy / "overlays" / "local" / "secrets")
        _make_by_hand(copy / "overlays")
        return render(copy / "overlays" / overlay)


def render(folder: Path) -> Manifests:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=RENDER_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def _make_secrets(folder: Path) -> None:
    subprocess.run(["sh", ROOT / "deploy" / "compose" / "secrets.sh", folder], check=True, capture_output=True)


def _make_by_hand(overlays: Path) -> None:
    text = (overlays / "production" / "kustomization.yaml").read_text()
    lines = [line for line in text.splitlines() if "components/external-secrets" not in line]
    (overlays / BY_HAND).mkdir()
    by_hand = "\n".join(lines).replace("components/ingress", "components/gateway-api")
    (overlays / BY_HAND / "kustomization.yaml").write_text(by_hand)


def secrets_by_hand() -> dict[str, set[str]]:
    """The keys of each Secret that the commands in the documentation make."""
    text = DOCUMENTATION.read_text().replace("\\\n", " ")
    commands = re.findall(r"kubectl -n pair create secret generic (\S+)(.*)", text)
    return {name: set(re.findall(r"--from-(?:literal|file)=([\w.-]+)=", rest)) for name, rest in commands}


def of_kind(manifests: Manifests, *kinds: str) -> Manifests:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: Manifests, kind: str, name: str) -> Object | None:
    return next((one for one in of_kind(manifests, kind) if one["metadata"]["name"] == name), None)


def title(manifest: Object) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


@dataclass(frozen=True)
class Workload:
    """Whatever makes pods, and what they are like."""

    manifest: Object
    template: Object

    @property
    def title(self) -> str:
        return title(self.manifest)

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.template["metadata"].get("labels", {}))

    @property
    def app(self) -> str:
        return self.labels.get("app.kubernetes.io/name", "")

    @property
    def pod(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def containers(self) -> list[Object]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for one in self.containers for port in one.get("ports", [])}

    @property
    def command(self) -> tuple[str, ...]:
        return tuple(self.pod["containers"][0].get("command", ()))

    @property
    def ours(self) -> bool:
        return self.command[:1] in (("gateway",), ("todos",))


def workloads(manifests: Manifests) -> list[Workload]:
    found = []
    for manifest in of_kind(manifests, "Deployment", "StatefulSet", "Job", "CronJob"):
        job = manifest["spec"]["jobTemplate"] if manifest["kind"] == "CronJob" else manifest
        found.append(Workload(manifest, job["spec"]["template"]))
    return found


def workload(manifests: Manifests, app: str) -> Workload:
    return next(one for one in workloads(manifests) if one.app == app)


def chosen(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes something with these labels; an empty one takes everything."""
    matches = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return matches and all(_fits(expression, labels) for expression in selector.get("matchExpressions", []))


def _fits(expression: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f"there is no operator {other}")


def variables(one: Workload, manifests: Manifests) -> dict[str, str]:
    """The environment of the first container that is written in the manifests."""
    [container, *_] = one.pod["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        config = named(manifests, "ConfigMap", source["configMapRef"]["name"]) or {"data": {}}
        found |= config["data"]
    return found | {entry["name"]: entry["value"] for entry in container.get("env", [])}


def secret_files(one: Workload) -> Iterator[tuple[str, str, str]]:
    """Secret, key and file of each secret that is mounted into the pod."""
    for volume in one.pod.get("volumes", []):
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                yield source["secret"]["name"], item["key"], item["path"]
