"""The pods of the local overlay, run by Docker under the restrictions of their manifests."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from devtools.testing.tokens import Signer, good_claims
from tests.deployment.engine import docker, require_docker, run
from tests.deployment.kubernetes_docker import Node, node, write_files
from tests.deployment.kubernetes_manifests import rendered, variables, workload

BUILD_SECONDS = 400
START_SECONDS = 60
POLL_SECONDS = 0.2
pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
    pytest.mark.timeout(BUILD_SECONDS + 120),
]


@pytest.fixture
def local() -> Iterator[Node]:
    require_docker()
    with tempfile.TemporaryDirectory(prefix="pair-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with node(rendered("local"), folder) as running:
            for app in ("gateway", "todos"):
                running.build(app, BUILD_SECONDS)
            yield running


def test_the_pods_start_wait_migrate_serve_and_purge_as_they_are_confined(local: Node) -> None:
    issuer = variables(workload(local.manifests, "gateway"), local.manifests)["GATEWAY_ISSUER"]
    signer = Signer()
    keys = {issuer: {"keys": [signer.jwk()]}}
    write_files(local.folder / "jwks", {"keys.json": json.dumps(keys).encode()})
    # the overlay's issuer is an example, whose keys come from a file here
    given = (
        "--publish",
        "127.0.0.1::8000",
        "--publish",
        "127.0.0.1::9000",
        "--volume",
        f"{local.folder}/jwks:/jwks:ro",
    )
    local.start("gateway", *given, GATEWAY_JWKS_FILE="/jwks/keys.json")
    local.start("todos", "--publish", "127.0.0.1::9001")
    local.start("redis", user="redis")
    local.start("postgres", user="postgres")
    gateway, todos = local.address("gateway", 9000), local.address("todos", 9001)
    until(lambda: status(f"{gateway}/healthz/ready") == 200)
    until(lambda: status(f"{todos}/healthz/live") == 200)
    until(lambda: accepts_connections(local))
    assert status(f"{todos}/healthz/ready") == 503

    assert outcome(local, "todos-migrate") == 0
    until(lambda: status(f"{todos}/healthz/ready") == 200)
    headers = {"Authorization": f"Bearer {signer.token(good_claims(issuer))}"}
    with httpx.Client(base_url=local.address("gateway", 8000), headers=headers, trust_env=False) as client:
        created = client.post("/v1/todos", json={"title": "Buy milk"})
        assert created.status_code == 201
        assert client.get("/v1/todos").json() == [created.json()]
    metrics = httpx.get(f"{gateway}/metrics", trust_env=False).text
    assert "gateway_ratelimit_degraded 0.0" in metrics
    assert outcome(local, "todos-purge") == 0


def outcome(local: Node, job: str) -> int:
    return int(docker("wait", local.start(job)))


def accepts_connections(local: Node) -> bool:
    return run("docker", "exec", local.named("postgres"), "pg_isready", "--host=127.0.0.1").returncode == 0


def status(url: str) -> int | None:
    try:
        return httpx.get(url, trust_env=False).status_code
    except httpx.TransportError:
        return None


def until(condition: Callable[[], bool]) -> None:
    """Containers announce nothing: ask again."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
