"""Which replica a new connection goes to: a ready one, that of the same zone first.

As kube-proxy does with `trafficDistribution: PreferClose`: a connection that stands stays where it is. The probes are
those of the manifests, but every quarter of a second, so that a run of many faults is short.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from devtools.processes import LOOPBACK

PROBE_SECONDS = 0.25
TIMEOUT_SECONDS = 2
QUESTION = b"GET /healthz/ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n"


class Endpoint(Protocol):
    """A replica of a service."""

    @property
    def port(self) -> int: ...
    @property
    def admin_port(self) -> int: ...


class Balancer:
    """The replicas of one service and which of them are ready, by probes that run while it is entered."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._ready: dict[int, bool] = {}
        self._probed = asyncio.Condition()

    def targets(self, zone: int) -> list[int]:
        """The ports of the ready replicas, that of the zone (from 0) first."""
        ordered = [self._endpoints[zone], *self._endpoints[:zone], *self._endpoints[zone + 1 :]]
        return [endpoint.port for endpoint in ordered if self._ready.get(endpoint.port)]

    async def all_ready(self) -> None:
        """Wait until every replica is."""
        async with self._probed:
            await self._probed.wait_for(lambda: all(self._ready.get(each.port) for each in self._endpoints))

    @contextlib.asynccontextmanager
    async def probing(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._probe(endpoint)) for endpoint in self._endpoints]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, endpoint: Endpoint) -> None:
        while True:
            ready = await is_ready(endpoint.admin_port)
            async with self._probed:
                self._ready[endpoint.port] = ready
                self._probed.notify_all()
            await asyncio.sleep(PROBE_SECONDS)


async def is_ready(admin_port: int) -> bool:
    """Whether the readiness page answers 200 in time."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, admin_port)
            try:
                writer.write(QUESTION)
                return b" 200 " in await reader.readline()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False
