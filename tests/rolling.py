"""A small cluster: processes that are replaced one by one behind a Service, under traffic that misses nothing."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx

from devtools.testing.serving import http_client

LOOPBACK = "127.0.0.1"
LAG_ANSWERS = 8
"""How much traffic there is, some of it to the stopping process, before every router knows that it stops."""
EVENT_SECONDS = 60
POLL_SECONDS = 0.02
PAUSE_SECONDS = 0.05
"""Between two requests of a client: steady, and not a load test."""


class Process:
    """One pod: `gateway serve` or `todos serve` on free ports."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.port = self.admin_port = 0
        self._process = process
        self._said: dict[str, asyncio.Event] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, program: str, settings: Mapping[str, str]) -> Self:
        """Return when it listens, ready or not."""
        environment = {
            **os.environ,
            **{f"{program.upper()}_{name}": value for name, value in LISTEN.items()},
            **settings,
        }
        started = cls(
            await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name(program), "serve", env=environment, stdout=asyncio.subprocess.PIPE
            )
        )
        await started.said("listening")
        return started

    async def said(self, message: str) -> None:
        """Wait for a line of its log, named by what is before its colon."""
        async with asyncio.timeout(EVENT_SECONDS):
            await self._said.setdefault(message, asyncio.Event()).wait()

    async def healthy(self, page: str) -> bool:
        """What the kubelet would find."""
        async with http_client() as http:
            return (await http.get(f"http://{LOOPBACK}:{self.admin_port}/healthz/{page}")).is_success

    async def ready(self) -> None:
        async with asyncio.timeout(EVENT_SECONDS):
            while not await self.healthy("ready"):  # noqa: ASYNC110 - readiness is asked for, as the kubelet does
                await asyncio.sleep(POLL_SECONDS)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    async def exited(self) -> int:
        async with asyncio.timeout(EVENT_SECONDS):
            await self._reading
            return await self._process.wait()

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self.exited()

    async def _read(self) -> None:
        assert self._process.stdout
        async for text in self._process.stdout:
            line = json.loads(text)
            if line["message"] == "listening":
                self.port, self.admin_port = line["port"], line["admin_port"]
            self._said.setdefault(line["message"].partition(":")[0], asyncio.Event()).set()


LISTEN = {"HOST": LOOPBACK, "PORT": "0", "ADMIN_PORT": "0"}


class Service:
    """As kube-proxy: each new connection goes to the next endpoint; one that stands stays where it is."""

    def __init__(self) -> None:
        self.endpoints: list[Process] = []
        self.port = 0
        self._turns = itertools.count()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._relay, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoint = self.endpoints[next(self._turns) % len(self.endpoints)]
        try:
            inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, endpoint.port)
        except OSError:
            writer.transport.abort()
            return
        pumps = [asyncio.create_task(_pump(*pair)) for pair in ((reader, inner_writer), (inner_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            writer.close()
            inner_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@dataclass
class Deployment:
    """Pods of one kind behind one Service, replaced as `maxUnavailable: 0` and `maxSurge: 1` have it."""

    program: str
    service: Service
    settings: dict[str, str]
    pods: list[Process] = field(default_factory=list)

    async def add(self, **changes: str) -> Process:
        """One more, ready and behind the Service; `changes` are settings of it alone."""
        pod = await Process.start(self.program, {**self.settings, **changes})
        self.pods.append(pod)
        await pod.ready()
        self.service.endpoints.append(pod)
        return pod

    async def roll(self, traffic: "Traffic") -> None:
        """Replace every pod in turn by one with the settings as they are now; return when no old one is left."""
        going = []
        for old in list(self.pods):
            await self.add()
            going.append(asyncio.create_task(self.remove(old, traffic)))
            await old.said("draining")
        await asyncio.gather(*going)

    async def remove(self, pod: Process, traffic: "Traffic") -> None:
        """SIGTERM at once, out of the Service only later, as in a cluster; ends when the process has."""
        pod.terminate()
        await pod.said("draining")
        await traffic.answers(LAG_ANSWERS)
        self.service.endpoints.remove(pod)
        assert await pod.exited() == 0
        self.pods.remove(pod)

    async def kill(self) -> None:
        await asyncio.gather(*(pod.kill() for pod in self.pods))


class Traffic:
    """Clients that create, read, list and change, each as a user of its own, until the block ends."""

    def __init__(self, url: str, token: Callable[[str], str], *, kept: int = 3, fresh: int = 1) -> None:
        """`kept` clients keep their connection; `fresh` ones open one for each request."""
        self.failures: list[str] = []
        self.answered: Counter[str] = Counter()
        self.acknowledged: dict[str, dict[str, bool]] = {f"user-{uuid4()}": {} for _ in range(kept + fresh)}
        self._limits = [httpx.Limits()] * kept + [httpx.Limits(max_keepalive_connections=0)] * fresh
        self._url = url
        self._token = token
        self._changed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[Self]:
        stop = asyncio.Event()
        clients = zip(self.acknowledged, self._limits, strict=True)
        async with asyncio.TaskGroup() as group:
            for user, limits in clients:
                group.create_task(self._client(user, limits, stop))
            try:
                yield self
            finally:
                stop.set()

    async def answers(self, count: int) -> None:
        """Wait for so many more answers."""
        goal = self.answered.total() + count
        await self._until(lambda: self.answered.total() >= goal)

    async def failed(self) -> None:
        await self._until(lambda: bool(self.failures))

    async def stored(self) -> dict[str, dict[str, bool]]:
        """What every user finds now: whether each todo is completed, by id."""
        return {user: await self._export(user) for user in self.acknowledged}

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(EVENT_SECONDS), self._changed:
            await self._changed.wait_for(condition)

    async def _client(self, user: str, limits: httpx.Limits, stop: asyncio.Event) -> None:
        async with self._http(user, limits) as http:
            while not stop.is_set():
                await self._round(http, self.acknowledged[user])

    async def _round(self, http: httpx.AsyncClient, acknowledged: dict[str, bool]) -> None:
        await self._ask(http, "GET", "", 200)
        created = await self._ask(http, "POST", "", 201, json={"title": "Buy milk"})
        if created:
            acknowledged[created["id"]] = False
            await self._ask(http, "GET", f"/{created['id']}", 200)
            if await self._ask(http, "PATCH", f"/{created['id']}", 200, json={"completed": True}):
                acknowledged[created["id"]] = True

    async def _ask(self, http: httpx.AsyncClient, method: str, path: str, expected: int, **options: Any) -> Any:
        try:
            answer = await http.request(method, f"/v1/todos{path}", **options)
            fault = "" if answer.status_code == expected else f"{answer.status_code} {answer.text}"
        except httpx.TransportError as error:
            answer, fault = None, repr(error)
        async with self._changed:
            if fault:
                self.failures.append(f"{method}: {fault}")
            else:
                self.answered[method] += 1
            self._changed.notify_all()
        await asyncio.sleep(PAUSE_SECONDS)
        return answer.json() if answer and not fault else None

    async def _export(self, user: str) -> dict[str, bool]:
        async with self._http(user, httpx.Limits()) as http:
            answer = (await http.get("/v1/export", headers={"Accept": "application/json"})).raise_for_status()
            return {todo["id"]: todo["completed"] for todo in answer.json()}

    def _http(self, user: str, limits: httpx.Limits) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._token(user)}"}
        return http_client(base_url=self._url, headers=headers, limits=limits, timeout=15)
