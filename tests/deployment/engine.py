"""Whatever Docker there is, by its command line."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = (ROOT / "VERSION").read_text().strip()
BASES = ("python:3.13-slim", "postgres:17", "redis:7")
ANSWER_SECONDS = 20
PULL_SECONDS = 300


def require_docker() -> None:
    """Skip what asks, by name, where no engine answers or Compose is not there."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    for command, fault in (
        (["docker", "version"], "no Docker engine answers (DOCKER_HOST names another one)"),
        (["docker", "compose", "version"], "Docker has no Compose plugin"),
    ):
        if run(*command, seconds=ANSWER_SECONDS).returncode:
            pytest.skip(fault)
    for base in BASES:
        if (
            run("docker", "image", "inspect", base).returncode
            and run("docker", "pull", base, seconds=PULL_SECONDS).returncode
        ):
            pytest.skip(f"{base} is not here and cannot be pulled")


def run(
    *command: str, seconds: float = 60, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `command` in the checkout and hand back its code and what it said."""
    settings = {**os.environ, **(environment or {})}
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False, timeout=seconds)


def docker(*arguments: str, seconds: float = 60) -> str:
    """What `docker` prints; it has to succeed."""
    done = run("docker", *arguments, seconds=seconds)
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def inspect(kind: str, name: str) -> dict[str, Any]:
    [described] = json.loads(docker(kind, "inspect", name))
    return dict(described)
