"""The two services as they are checked out, started by their own console scripts with every feature on."""

from collections import Counter

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bench.messages import message
from bench.stage import AUDIENCE, PROGRAMS, Running, Stage
from devtools.processes import LOOPBACK, free_port

READY = message("GET", b"/healthz/ready", [(b"connection", b"close")])
LIMITS = "user=50000000/60s,user-write=50000000/60s,auth-failure=50000000/60s"
"""Counted and never reached."""


def start_gateway(stage: Stage, upstream_port: int, *, redis_url: str | None = None, **settings: str) -> Running:
    """`settings` are the gateway's own, without their prefix."""
    port, admin_port = free_port(), free_port()
    given = {
        "host": LOOPBACK,
        "port": str(port),
        "admin_port": str(admin_port),
        "issuer": stage.issuer,
        "audience": AUDIENCE,
        "allow_http_jwks": "true",
        "upstream_url": f"http://{LOOPBACK}:{upstream_port}",
        "identity_keys": stage.identity_keys,
        "redis_url": redis_url or stage.valkey.url,
        "rate_limits": LIMITS,
        "drain_seconds": "0",
        **settings,
    }
    return _start(stage, "gateway", port, admin_port, given)


def start_todos(stage: Stage, *, database_url: str | None = None, **settings: str) -> Running:
    """`settings` are the todo service's own, without their prefix."""
    port, admin_port = free_port(), free_port()
    given = {
        "host": LOOPBACK,
        "port": str(port),
        "admin_port": str(admin_port),
        "identity_keys": stage.identity_keys,
        "database_url": database_url or stage.postgres.app_url(),
        "drain_seconds": "0",
        **settings,
    }
    return _start(stage, "todos", port, admin_port, given)


def judged_by_redis(gateway: Running) -> float:
    """The share of its judgements that were Redis's; the rest it made by itself, Redis being late."""
    text = httpx.get(f"http://{LOOPBACK}:{gateway.admin_port}/metrics", trust_env=False).text
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        if family.name == "gateway_ratelimit_decisions":
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    counted[sample.labels["source"]] += int(sample.value)
    return counted["redis"] / counted.total() if counted else 0.0


def _start(stage: Stage, name: str, port: int, admin_port: int, settings: dict[str, str]) -> Running:
    environment = {f"{name.upper()}_{setting.upper()}": value for setting, value in settings.items()}
    return stage.start(name, [PROGRAMS / name, "serve"], port, environment, READY, admin_port)
