"""The pair in containers: a Compose project of its own, with its own secrets and ports."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from devtools.processes import LOOPBACK, free_port
from tests.deployment.engine import inspect, run
from tests.pair import GENEROUS, PORTS, Pair

UP_SECONDS = 500
DOWN_SECONDS = 120
COMPOSE = ("docker", "compose", "--env-file=/dev/null")
FILES = ("--file=docker-compose.yml", "--file=tests/deployment/door.yml")
SCRIPT = "deploy/compose/secrets.sh"


class Composed:
    """A project that this test brings up and takes down."""

    def __init__(self, secrets: Path) -> None:
        self.name = f"pair-test-{uuid.uuid4().hex[:8]}"
        self.secrets = secrets
        made = run("sh", SCRIPT, str(secrets))
        assert made.returncode == 0, made.stderr
        self.ports = dict(zip(PORTS, _ports(len(PORTS)), strict=True))
        others = {name: "" for name in os.environ if name.startswith(("GATEWAY_", "TODOS_", "COMPOSE_"))}
        self._environment = {
            **others,
            **{name: str(port) for name, port in self.ports.items()},
            "SECRETS_DIR": str(secrets),
            "GATEWAY_RATE_LIMITS": GENEROUS,
        }

    def compose(self, *arguments: str, seconds: float = 60, **settings: str) -> str:
        """What `docker compose` prints; it has to succeed."""
        command = (*COMPOSE, f"--project-name={self.name}", *FILES, "--profile=development", *arguments)
        done = run(*command, seconds=seconds, environment={**self._environment, **settings})
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> None:
        try:
            self.compose("up", "--build", "--wait", seconds=UP_SECONDS)
        except AssertionError as failure:
            failure.add_note(self.compose("logs", "--tail=20"))
            raise

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--rmi=local", "--timeout=2", seconds=DOWN_SECONDS)

    def container(self, service: str) -> dict[str, Any]:
        """How the engine describes a service's container, also one that has ended."""
        return inspect("container", self.compose("ps", "--all", "--quiet", service).strip())

    def execute(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text().strip()

    def pair(self) -> Pair:
        urls = {name.removesuffix("_PORT").lower(): f"http://{LOOPBACK}:{port}" for name, port in self.ports.items()}
        return Pair({**urls, "identity_keys": self.secret("identity_keys")}, "")

    def plan(self, *profiles: str, **settings: str) -> dict[str, Any]:
        """What Compose makes of docker-compose.yml alone."""
        chosen = [f"--profile={profile}" for profile in profiles]
        environment = {**self._environment, **settings}
        done = run(*COMPOSE, *FILES[:1], *chosen, "config", "--format=json", environment=environment)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@contextmanager
def composed(folder: Path) -> Iterator[tuple[Composed, Pair]]:
    """The project, ready; at the end nothing of it is left."""
    project = Composed(folder / "secrets")
    try:
        project.up()
        with closing(project.pair()) as pair:
            yield project, pair
    finally:
        project.down()


def _ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
