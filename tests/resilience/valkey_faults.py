"""Valkey busy, flushed and full: none of it is a user's to notice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import redis

from devtools.valkey import LocalValkey
from tests.resilience.scenario import Scenario, Stage, blocking, nobody

BUSY_SECONDS = 3
BUSY_SCRIPT = """
local function now() local t = redis.call('TIME'); return t[1] + t[2] / 1000000 end
local ends = now() + tonumber(ARGV[1])
while now() < ends do end
"""
FLUSH_PAUSE_SECONDS = 0.2


def client(valkey: LocalValkey) -> redis.Redis:
    return redis.Redis.from_url(valkey.url, socket_timeout=2 * BUSY_SECONDS)


@contextlib.asynccontextmanager
async def busy(stage: Stage) -> AsyncIterator[None]:
    """A script of somebody else runs and runs, and nobody else is answered."""
    with client(stage.cluster.stores.valkey) as connection:
        running = asyncio.create_task(blocking(lambda: connection.eval(BUSY_SCRIPT, 0, str(BUSY_SECONDS))))
        try:
            yield
        finally:
            await running


@contextlib.asynccontextmanager
async def flushed(stage: Stage) -> AsyncIterator[None]:
    """Keys and scripts are lost, again and again."""

    async def flush() -> None:
        while True:
            await blocking(stage.cluster.stores.valkey.flush)
            await asyncio.sleep(FLUSH_PAUSE_SECONDS)

    flushing = asyncio.create_task(flush())
    try:
        yield
    finally:
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)


@contextlib.asynccontextmanager
async def full(stage: Stage) -> AsyncIterator[None]:
    """No memory is left, and nothing may be evicted."""
    with client(stage.cluster.stores.valkey) as connection:
        settings: Mapping[str, Callable[[], object]] = {
            "set": lambda: connection.config_set("maxmemory", "1"),
            "reset": lambda: connection.config_set("maxmemory", "0"),
        }
        await blocking(settings["set"])
        try:
            yield
        finally:
            await blocking(settings["reset"])


def scenarios() -> list[Scenario]:
    return [
        Scenario("valkey-busy", "another client's script keeps Valkey busy for 3 s", nobody, busy),
        Scenario("valkey-flushed", "Valkey is emptied, scripts included, five times a second", nobody, flushed),
        Scenario("valkey-full", "Valkey has no memory left and evicts nothing", nobody, full),
    ]
