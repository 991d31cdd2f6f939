"""What the processes hold: memory, file descriptors, database connections, and requests under way."""

import asyncio
import contextlib
import functools
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx
import psycopg
import yaml

from devtools.processes import LOOPBACK
from tests.resilience.cluster import Cluster
from tests.resilience.processes import Replica
from tests.resilience.promises import Breach, Promise

MIB = 1 << 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RETURN_SECONDS = 40
"""Longer than an idle connection is kept."""
POLL_SECONDS = 0.5
PEAK_SECONDS = 0.1
MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "k8s" / "base"
UNITS = {"Mi": MIB, "Gi": 1 << 30}
KEPT_SHARE = 0.25
"""Of the limit of the manifest: so much freed memory an allocator may keep for later."""
MORE_DESCRIPTORS = 100
"""Kept connections come and go: so many more is still where it was."""
AT_REST = ("gateway_in_flight_requests", "gateway_buffered_bytes", "todos_pool_waiting_requests")
"""Metrics that are 0 while nobody asks for anything."""


@dataclass(frozen=True)
class Usage:
    """Resident bytes by replica, open descriptors by service, connections at PostgreSQL, the sum of `AT_REST`.

    Users stay with the gateway that took them over: descriptors move between replicas.
    """

    memory: Mapping[str, int]
    descriptors: Mapping[str, int]
    database_connections: int
    under_way: float

    def excess(self, before: "Usage") -> list[str]:
        """What is not back where it was, in words."""
        return [*self._excess(before)]

    def _excess(self, before: "Usage") -> Iterator[str]:
        for name, held in self.memory.items():
            kept = KEPT_SHARE * memory_limit(name.partition("-")[0])
            if held > before.memory[name] + kept:
                yield f"{name} has {held / MIB:.0f} MiB after {before.memory[name] / MIB:.0f}"
        for service, opened in self.descriptors.items():
            if opened > before.descriptors[service] + MORE_DESCRIPTORS:
                yield f"{service} has {opened} descriptors after {before.descriptors[service]}"
        if self.database_connections > before.database_connections + MORE_DESCRIPTORS:
            yield f"PostgreSQL has {self.database_connections} connections after {before.database_connections}"
        if self.under_way:
            yield f"{self.under_way:g} requests or bytes are still under way"


@dataclass
class Peak:
    """The most memory that a replica of each service held while this was entered."""

    cluster: Cluster
    bytes: Counter[str] = field(default_factory=Counter)

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)

    @property
    def breaches(self) -> list[Breach]:
        """Services that went past the limit of their manifest."""
        return [
            Breach(Promise.BOUNDED, f"{service} took {held / MIB:.0f} MiB of {memory_limit(service) / MIB:.0f}")
            for service, held in self.bytes.items()
            if held > memory_limit(service)
        ]

    async def _watch(self) -> None:
        while True:
            for replica in self.cluster.replicas:
                with contextlib.suppress(FileNotFoundError, IndexError):
                    held = resident_bytes(replica.child.pid)
                    self.bytes[replica.service] = max(self.bytes[replica.service], held)
            await asyncio.sleep(PEAK_SECONDS)


@functools.cache
def memory_limit(service: str) -> int:
    """Bytes that the manifest of the service gives a container."""
    documents = yaml.safe_load_all((MANIFESTS / f"{service}.yaml").read_text())
    [deployment] = [document for document in documents if document["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    text: str = container["resources"]["limits"]["memory"]
    return int(text[:-2]) * UNITS[text[-2:]]


async def measure(cluster: Cluster) -> Usage:
    """As it is now; every replica must answer."""
    return await asyncio.to_thread(_measure, cluster)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


async def not_returned(cluster: Cluster, before: Usage, seconds: float) -> list[Breach]:
    """Wait until everything is back where it was, `seconds` at most."""
    deadline = time.monotonic() + seconds
    excess = (await measure(cluster)).excess(before)
    while excess and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        excess = (await measure(cluster)).excess(before)
    return [Breach(Promise.RETURNED, each) for each in excess]


def _measure(cluster: Cluster) -> Usage:
    descriptors: Counter[str] = Counter()
    for replica in cluster.replicas:
        descriptors[replica.service] += sum(1 for _ in Path(f"/proc/{replica.child.pid}/fd").iterdir())
    return Usage(
        memory={replica.name: resident_bytes(replica.child.pid) for replica in cluster.replicas},
        descriptors=descriptors,
        database_connections=_database_connections(cluster),
        under_way=sum(_under_way(replica) for replica in cluster.replicas),
    )


def _database_connections(cluster: Cluster) -> int:
    with psycopg.connect(cluster.stores.postgres.superuser_url()) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'todos'").fetchone()
    assert row
    return int(row[0])


def _under_way(replica: Replica) -> float:
    page = httpx.get(f"http://{LOOPBACK}:{replica.admin_port}/metrics", trust_env=False).raise_for_status().text
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return sum(float(value) for series, _, value in lines if series.partition("{")[0] in AT_REST)
