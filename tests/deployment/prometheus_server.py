"""A real Prometheus on loopback that scrapes a running pair and evaluates the project's own rules."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from devtools.processes import LOOPBACK, Child, free_port, wait_until
from tests.deployment.prometheus_rules import RULE_FILES
from tests.pair import Pair

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
HOW = "is not installed (Debian: apt-get install prometheus)"
INTERVAL = "500ms"
START_SECONDS = 30


class Prometheus:
    """Queries to one server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def close(self) -> None:
        self._http.close()

    def ready(self) -> bool:
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def values(self, expression: str) -> list[float]:
        """What the expression gives now, a number a series."""
        answer = self._http.get("/api/v1/query", params={"query": expression})
        assert answer.is_success, (expression, answer.text)
        found = answer.json()["data"]
        assert found["resultType"] == "vector", expression
        return [float(sample["value"][1]) for sample in found["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule it evaluates, with its health and last error."""
        groups = self._http.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextlib.contextmanager
def watching(pair: Pair, folder: Path) -> Iterator[Prometheus]:
    """A server that is ready; its data lie in `folder`."""
    settings, port = folder / "prometheus.json", free_port()
    settings.write_text(json.dumps(_settings(pair)))  # JSON is YAML
    command = [
        str(PROMETHEUS),
        f"--config.file={settings}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    child = Child("Prometheus", command, folder / "prometheus.log")
    server = Prometheus(f"http://{LOOPBACK}:{port}")
    try:
        wait_until(server.ready, child, START_SECONDS)
        yield server
    finally:
        server.close()
        child.stop(5)


def _settings(pair: Pair) -> dict[str, Any]:
    targets = {job: urlsplit(pair.description[f"{job}_admin"]).netloc for job in ("gateway", "todos")}
    return {
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(path) for path in RULE_FILES],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [target], "labels": {"namespace": "tried"}}]}
            for job, target in targets.items()
        ],
    }
