"""The service over real sockets, and clients that sign as the gateway does."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from devtools.postgres import LocalPostgres
from devtools.testing.serving import http_client, serving
from identity import Keyring, parse_key, sign
from runtime.identifiers import new_uuid
from runtime.serve import http_server
from runtime.user_shares import UserShares
from todos.app import open_service
from todos.schema.migrate import migrate
from todos.settings import MigrateSettings, ServeSettings

KEYS_TEXT = "k1:" + base64.urlsafe_b64encode(b"k" * 32).decode()
KEYS = Keyring(dict([parse_key(KEYS_TEXT)]))
DATABASE = "todos_service"


@dataclass
class Client:
    """One user, whose requests are signed over the very bytes that go out."""

    http: httpx.AsyncClient
    user: str = field(default_factory=lambda: f"user-{uuid4()}")

    async def send(
        self,
        method: str,
        target: str,
        *,
        json_body: Any = None,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        given = {"content-type": "application/json"} if json_body is not None else {}
        if json_body is not None:
            body = json.dumps(json_body).encode()
        return await self.http.send(self.signed(method, target, body, {**given, **(headers or {})}))

    def signed(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> httpx.Request:
        url = httpx.URL(str(self.http.base_url).rstrip("/") + target)
        path, _, query = url.raw_path.partition(b"?")
        signature = sign(
            KEYS,
            method=method,
            path=path,
            query=query,
            user_id=self.user.encode(),
            request_id=new_uuid().encode(),
            body=body,
            now=int(time.time()),
        )
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        return httpx.Request(method, url, headers=[*fields, *signature], content=body)

    async def create(self, **fields: Any) -> dict[str, Any]:
        answer = await self.send("POST", "/v1/todos", json_body={"title": "a todo", **fields})
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def get(self, target: str, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.send("GET", target, headers=headers)


@dataclass
class Running:
    """A service that listens, and new clients of it."""

    port: int
    registry: CollectorRegistry
    ready: asyncio.Event
    http: httpx.AsyncClient
    readiness: Callable[[], Any]

    def user(self, name: str | None = None) -> Client:
        return Client(self.http, name) if name else Client(self.http)


def small_pool(statement_seconds: float = 5) -> dict[str, Any]:
    """How `open_database` opens a pool of one connection."""
    return {
        "pool_size": 1,
        "statement_seconds": statement_seconds,
        "search_seconds": statement_seconds,
        "places": UserShares("user-pool", total=1, per_user=1, count_refused=lambda: None),
        "searches": UserShares("user-pool", total=1, per_user=1, count_refused=lambda: None),
    }


@asynccontextmanager
async def running(database_url: str, *, wait: bool = True, **settings: Any) -> AsyncIterator[Running]:
    """The service on a free port, in this process; `wait` until it is ready."""
    chosen = ServeSettings(
        database_url=SecretStr(database_url),
        identity_keys=KEYS,
        **settings,
    )
    async with open_service(chosen) as service:
        server = http_server(service.app, keepalive_seconds=75)
        ready = asyncio.Event()

        async def background() -> None:
            await service.background()
            ready.set()

        # named as TCP, for asyncio to send small answers at once
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            async with asyncio.TaskGroup() as group, serving(server, listener):
                starting = group.create_task(background())
                try:
                    async with http_client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                        if wait:
                            await ready.wait()
                        yield Running(port, service.registry, ready, http, service.readiness)
                finally:
                    starting.cancel()


def migrate_database(postgres: LocalPostgres, database: str, *, maintenance: bool = False) -> list[str]:
    settings = MigrateSettings(
        maintenance_database_url=SecretStr(postgres.maintenance_url(database)) if maintenance else None,
        database_url=SecretStr(postgres.app_url(database)),
        migration_database_url=SecretStr(postgres.owner_url(database)),
    )
    return list(migrate(settings))


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port
