"""What the processes in the pods are given, held to their own settings and to Compose."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from gateway.settings import ServeSettings as GatewaySettings
from tests.deployment.kubernetes_manifests import (
    COMPOSE,
    VERSION,
    Manifests,
    Workload,
    secret_files,
    variables,
    workloads,
)
from todos.settings import MigrateSettings, PurgeSettings, ServeSettings

SETTINGS: dict[tuple[str, ...], type[BaseSettings]] = {
    ("gateway", "serve"): GatewaySettings,
    ("todos", "serve"): ServeSettings,
    ("todos", "migrate"): MigrateSettings,
    ("todos", "purge"): PurgeSettings,
}
COMPOSED = {"todos-migrate": "migration", "todos-purge": "purge"}
"""Where Compose has another name."""
EXAMPLES = {
    "IDENTITY_KEYS": "k1:" + "A" * 43,
    "REDIS_URL": "rediss://:password@redis.example.com:6379/0",
    "DATABASE_URL": "postgresql://todos_app:password@db.example.com/todos",
    "MIGRATION_DATABASE_URL": "postgresql://todos_owner:password@db.example.com/todos",
    "MAINTENANCE_DATABASE_URL": "postgresql://todos_maintenance:password@db.example.com/todos",
}


def settings(manifests: Manifests) -> Iterator[str]:
    """Each process knows every setting that it is given, and starts with them."""
    for one in workloads(manifests):
        if not one.ours:
            continue
        if one.pod.get("enableServiceLinks") is not False:
            yield f"{one.title} is given settings by the Services: GATEWAY_PORT, TODOS_PORT"
        kind = SETTINGS.get(one.command)
        if kind is None:
            yield f"{one.title} runs {one.command}"
            continue
        prefix = str(kind.model_config.get("env_prefix", ""))
        environment = variables(one, manifests)
        files = {path for _, _, path in secret_files(one)}
        known = {f"{prefix}{name.upper()}" for name in kind.model_fields}
        if unknown := (set(environment) | files) - known:
            yield f"{one.title} does not know {sorted(unknown)}"
        if any(mount.get("mountPath") != "/run/secrets" for mount in one.containers[0].get("volumeMounts", [])):
            yield f"{one.title} has its secrets elsewhere"
        yield from _loaded(one, kind, prefix, environment, files)


def _loaded(
    one: Workload, kind: type[BaseSettings], prefix: str, environment: dict[str, str], files: set[str]
) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, environment, clear=True):
        for file in files:
            (Path(folder) / file).write_text(EXAMPLES.get(file.removeprefix(prefix), "") + "\n")
        try:
            loaded = kind(_secrets_dir=folder)
        except ValidationError as error:
            yield f"{one.title} does not start: {error}"
        else:
            listens = {"http": getattr(loaded, "port", None), "admin": getattr(loaded, "admin_port", None)}
            if one.ports and one.ports != listens:
                yield f"{one.title} listens on {listens}, not on {one.ports}"


def privileges(manifests: Manifests) -> Iterator[str]:
    """Each process holds its own secrets alone: serving neither migrates nor purges."""
    for one in workloads(manifests):
        if one.ours:
            expected = {source["target"] for source in COMPOSE["services"][COMPOSED.get(one.app, one.app)]["secrets"]}
            if {path for _, _, path in secret_files(one)} != expected:
                yield f"{one.title} holds other secrets than {sorted(expected)}"
        if len(one.containers) != 1:
            yield f"{one.title} has another container"


def images(manifests: Manifests) -> Iterator[str]:
    """Ours carry the version of the VERSION file, and so does the migration's name; others are Compose's."""
    for one in workloads(manifests):
        [container] = one.pod["containers"]
        name, _, tag = container["image"].rpartition(":")
        if one.ours:
            if (name.rpartition("/")[2], tag) != (one.command[0], VERSION):
                yield f"{one.title} runs {container['image']}"
        elif container["image"] != COMPOSE["services"][one.app]["image"]:
            yield f"{one.title} runs {container['image']}, and Compose does not"
        if one.kind == "Job" and one.manifest["metadata"]["name"] != f"todos-migrate-{VERSION.replace('.', '-')}":
            yield f"{one.title} is not named after the version"


def compose(manifests: Manifests) -> Iterator[str]:
    """What both say of a process is the same."""
    for one in workloads(manifests):
        composed = COMPOSE["services"][COMPOSED.get(one.app, one.app)]
        if one.command and list(one.command) != composed.get("command", [one.app, "serve"]):
            yield f"{one.title} runs {one.command}"
        fixed = composed.get("environment", {})
        given = variables(one, manifests)
        for name in fixed.keys() & given.keys():
            if fixed[name] is not None and fixed[name] != given[name]:
                yield f"{one.title} has another {name}"
        limit = one.pod["containers"][0].get("resources", {}).get("limits", {}).get("memory", "")
        if one.command[1:] == ("serve",) and composed["mem_limit"] != limit.removesuffix("i").lower():
            yield f"{one.title} may take {limit}, and in Compose {composed['mem_limit']}"
        if one.app == "redis" and not set(composed["command"]) <= set(one.pod["containers"][0]["args"]):
            yield f"{one.title} starts otherwise"
