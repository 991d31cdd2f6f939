"""The pair as it runs in production, in two zones: two gateways and two todos, and what all of them share.

    users of zone N ── front N ──► gateway-N ── gateway-N-todos ──► todos-N ── todos-N-postgres ──► PostgreSQL
                                     ├── gateway-N-valkey ──► Valkey
                                     └── gateway-N-provider ──► identity provider

Every arrow is a `Link`. A front, and the link from a gateway to todos, lead to the other zone while their own has no
ready replica.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from devtools.postgres import LocalPostgres
from devtools.processes import LOOPBACK, Child, run_to_end
from devtools.token import fetch_token
from devtools.valkey import LocalValkey
from tests.resilience.balancer import Balancer
from tests.resilience.disk import Disk, mounted
from tests.resilience.processes import PROGRAMS, READY_SECONDS, Part, Provider, Replica
from tests.resilience.proxies import Link, Targets, listening

GATEWAY = (PROGRAMS / "gateway",)
ZONES = (0, 1)
"""Numbered from 0; the names of their parts from 1."""


@dataclass(frozen=True)
class Stores:
    """What the services need, each one process."""

    postgres: LocalPostgres
    valkey: LocalValkey
    provider: Provider

    @property
    def parts(self) -> dict[str, Part]:
        return {"postgres": self.postgres, "valkey": self.valkey, "provider": self.provider}


@dataclass(frozen=True)
class Cluster:
    """The stores, the replicas of each service by zone, the links by name, and who is ready."""

    stores: Stores
    todos: Sequence[Replica]
    gateways: Sequence[Replica]
    links: dict[str, Link]
    fronts: Balancer
    inner: Balancer
    disk: Disk | None

    @property
    def parts(self) -> dict[str, Part]:
        """Every process, in the order in which they need each other."""
        return self.stores.parts | {replica.name: replica for replica in self.replicas}

    @property
    def replicas(self) -> list[Replica]:
        return [*self.todos, *self.gateways]

    def front_url(self, zone: int) -> str:
        return f"http://{LOOPBACK}:{self.links[front(zone)].port}"

    async def token(self, user: str) -> str:
        """A token of the provider, good for longer than any run."""
        return await asyncio.to_thread(fetch_token, self.stores.provider.url, user)

    async def all_ready(self) -> None:
        """Wait until every replica is."""
        await self.fronts.all_ready()
        await self.inner.all_ready()


@contextlib.asynccontextmanager
async def running(folder: Path, first_gateway: Sequence[str | Path] = GATEWAY) -> AsyncIterator[Cluster]:
    """The cluster with its data and logs in `folder`: migrated and ready, stopped at the end.

    `first_gateway` is the program of the first zone's.
    """
    logs = folder / "logs"
    logs.mkdir()
    stores = Stores(
        LocalPostgres(folder / "postgres", log=logs / "postgres.log"),
        LocalValkey(folder / "valkey", log=logs / "valkey.log"),
        Provider(folder, logs),
    )
    with mounted(folder / "postgres") as disk:
        async with _started(stores.parts.values()):
            await asyncio.to_thread(_migrate, stores.postgres, logs / "migration.log")
            cluster = _assembled(stores, disk, logs, [first_gateway, GATEWAY])
            async with _serving(cluster):
                yield cluster


@contextlib.asynccontextmanager
async def _serving(cluster: Cluster) -> AsyncIterator[None]:
    async with (
        listening([*cluster.links.values()]),
        cluster.fronts.probing(),
        cluster.inner.probing(),
        _started(cluster.replicas),
    ):
        await cluster.all_ready()
        yield


@contextlib.asynccontextmanager
async def _started(parts: Collection[Part]) -> AsyncIterator[None]:
    try:
        await asyncio.gather(*(asyncio.to_thread(part.start) for part in parts))
        yield
    finally:
        await asyncio.gather(*(asyncio.to_thread(part.stop) for part in parts))


def front(zone: int) -> str:
    """The name of the link that the users of a zone take."""
    return f"users-gateway-{zone + 1}"


def _assembled(stores: Stores, disk: Disk | None, logs: Path, programs: Sequence[Sequence[str | Path]]) -> Cluster:
    keys = f"resilience:{secrets.token_urlsafe(32)}"
    links: dict[str, Link] = {}

    def link(name: str, targets: Targets) -> Link:
        links[name] = Link(name, targets)
        return links[name]

    def todos(zone: int) -> Replica:
        to_postgres = link(f"todos-{zone + 1}-postgres", lambda: [stores.postgres.port])
        settings = {"IDENTITY_KEYS": keys, "DATABASE_URL": _through(to_postgres, stores.postgres.app_url())}
        return Replica("todos", zone + 1, settings, logs, [PROGRAMS / "todos"])

    def gateway(zone: int) -> Replica:
        to_todos = link(f"gateway-{zone + 1}-todos", partial(inner.targets, zone))
        to_valkey = link(f"gateway-{zone + 1}-valkey", lambda: [stores.valkey.port])
        to_provider = link(f"gateway-{zone + 1}-provider", lambda: [stores.provider.port])
        settings = {
            "ISSUER": stores.provider.url,
            "AUDIENCE": "todos",
            "JWKS_URL": f"http://{LOOPBACK}:{to_provider.port}/jwks.json",
            "ALLOW_HTTP_JWKS": "true",
            "UPSTREAM_URL": f"http://{LOOPBACK}:{to_todos.port}",
            "IDENTITY_KEYS": keys,
            "REDIS_URL": _through(to_valkey, stores.valkey.url),
            "REPLICAS_HINT": str(len(ZONES)),
        }
        return Replica("gateway", zone + 1, settings, logs, programs[zone])

    every_todos = [todos(zone) for zone in ZONES]
    inner = Balancer(every_todos)
    every_gateway = [gateway(zone) for zone in ZONES]
    fronts = Balancer(every_gateway)
    for zone in ZONES:
        link(front(zone), partial(fronts.targets, zone))
    return Cluster(stores, every_todos, every_gateway, links, fronts, inner, disk)


def _migrate(postgres: LocalPostgres, log: Path) -> None:
    settings = {
        "TODOS_DATABASE_URL": postgres.app_url(),
        "TODOS_MIGRATION_DATABASE_URL": postgres.owner_url(),
        "TODOS_MAINTENANCE_DATABASE_URL": postgres.maintenance_url(),
    }
    command: list[str | Path] = [PROGRAMS / "todos", "migrate"]
    run_to_end(Child("migration", command, log, environment={**os.environ, **settings}), READY_SECONDS)


def _through(link: Link, url: str) -> str:
    """`url` with its port exchanged for the link's."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{credentials}@{LOOPBACK}:{link.port}"))
