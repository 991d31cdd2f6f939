"""A provider and a gateway that a test can break; the fixtures around them are in conftest.py."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from devtools.processes import free_port
from devtools.testing.servers import Reply, Request, ScriptedServer, reply
from devtools.testing.serving import http_client, serving
from devtools.testing.tokens import Signer, good_claims
from devtools.valkey import LocalValkey
from gateway.clock import SYSTEM, Clock
from gateway.settings import ServeSettings
from gateway.wiring import open_gateway
from identity import Keyring, parse_key, verify
from runtime.serve import Service, http_server, listen

IDENTITY_KEYS = "k1:" + "A" * 43

type StartGateway = Callable[..., AbstractAsyncContextManager[Running]]


@dataclass
class Provider:
    """An identity provider: what it publishes is what the test puts here."""

    server: ScriptedServer
    signer: Signer = field(default_factory=Signer)
    jwks: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jwks = {"keys": [self.signer.jwk()]}

    @property
    def issuer(self) -> str:
        return self.server.url

    @property
    def fetches(self) -> int:
        return sum(request.target == "/jwks" for request in self.server.requests)

    def answer(self, request: Request) -> Reply:
        documents = {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"},
            "/jwks": self.jwks,
        }
        return reply(json.dumps(documents[request.target]).encode(), headers=self.headers)

    def token(self, **changes: Any) -> str:
        return self.signer.token(good_claims(self.issuer, **changes))


@dataclass
class Running:
    """A gateway on a real socket."""

    client: httpx.AsyncClient
    port: int
    registry: CollectorRegistry

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


class MovingClock:
    """A clock that stands until the test moves it, and wakes who slept meanwhile."""

    def __init__(self) -> None:
        self._monotonic = 1_000_000.0
        self._wall = time.time()
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self._monotonic, lambda: self._wall, self._sleep)

    async def moved(self, seconds: float) -> None:
        """Move once somebody sleeps: what is under way would sleep from the later instant on."""
        await until(lambda: any(not woken.is_set() for _, woken in self._sleepers))
        self.move(seconds)

    def move(self, seconds: float) -> None:
        self._monotonic += seconds
        self._wall += seconds
        for deadline, woken in self._sleepers:
            if deadline <= self._monotonic:
                woken.set()

    async def _sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self._monotonic + seconds, woken))
        await woken.wait()


def settings_of(provider: Provider, upstream: ScriptedServer, **changes: object) -> dict[str, str]:
    """An environment that is good for these two, with some of it changed."""
    given = {
        "issuer": provider.issuer,
        "audience": "todos",
        "allow_http_jwks": "true",
        "upstream_url": upstream.url,
        "identity_keys": IDENTITY_KEYS,
        **changes,
    }
    return {f"GATEWAY_{name.upper()}": str(value) for name, value in given.items()}


@contextlib.asynccontextmanager
async def running_gateway(
    *, wait_for_keys: bool = True, clock: Clock = SYSTEM, send_buffer: int | None = None
) -> AsyncIterator[Running]:
    """A gateway with the settings of the environment, on a free port of loopback.

    Of each response the kernel keeps `send_buffer` bytes, by default as much as it likes.
    """
    async with open_gateway(ServeSettings(), clock) as service, _listening(service, send_buffer) as port:
        background = asyncio.create_task(service.background())
        try:
            if wait_for_keys:
                await until(lambda: service.readiness()["keys"])
            async with http_client(base_url=f"http://127.0.0.1:{port}") as client:
                yield Running(client, port, service.registry)
        finally:
            background.cancel()
            await asyncio.gather(background, return_exceptions=True)


@contextlib.asynccontextmanager
async def _listening(service: Service, send_buffer: int | None) -> AsyncIterator[int]:
    server = http_server(service.app, 75, service.on_rejected)
    with listen("127.0.0.1", 0) as listener:
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        async with serving(server, listener):
            yield listener.getsockname()[1]


def cluster_node(own_valkey: Callable[..., LocalValkey]) -> LocalValkey:
    """A Valkey that is a node of a cluster, by itself."""
    return own_valkey(cluster_enabled="yes", cluster_port=str(free_port()))


async def until(condition: Callable[[], bool]) -> None:
    """For what announces itself nowhere: look again each time the loop has turned."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


def proven_user(request: Request) -> str:
    """The user for whom the gateway signed a request that reached the upstream."""
    path, _, query = request.target.partition("?")
    headers = [(name.encode(), value.encode()) for name, value in request.headers]
    created = int(request["signature-input"].partition("created=")[2].partition(";")[0])
    identity = verify(
        Keyring(dict([parse_key(IDENTITY_KEYS)])),
        method=request.method,
        path=path.encode(),
        query=query.encode(),
        headers=headers,
        now=created,
    )
    identity.check_body(request.body, created)
    return identity.user_id
