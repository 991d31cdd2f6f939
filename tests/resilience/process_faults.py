"""Every process killed, frozen and restarted, one by one and all at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.resilience.scenario import Fault, Scenario, Stage, Touched, blocking, everybody, nobody, users_of

FREEZE_SECONDS = 4
LONG_FREEZE_SECONDS = 12
"""Longer than the gateway waits for an answer."""


def killed(*names: str) -> Fault:
    """SIGKILL, and a start at the end."""

    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        parts = [stage.cluster.parts[name] for name in names]
        await asyncio.gather(*(blocking(part.kill) for part in parts))
        try:
            yield
        finally:
            stores = stage.cluster.stores.parts.values()
            for together in (
                [part for part in parts if part in stores],
                [part for part in parts if part not in stores],
            ):
                await asyncio.gather(*(blocking(part.start) for part in together))
            await stage.cluster.all_ready()

    return fault


def frozen(name: str) -> Fault:
    """SIGSTOP, and SIGCONT at the end."""

    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        part = stage.cluster.parts[name]
        await blocking(part.freeze)
        try:
            yield
        finally:
            await blocking(part.thaw)
            await stage.cluster.all_ready()

    return fault


def restarted(name: str) -> Fault:
    """Stopped in order, and started again at once."""

    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        part = stage.cluster.parts[name]
        await blocking(part.stop)
        await blocking(part.start)
        await stage.cluster.all_ready()
        yield

    return fault


TOUCHED: dict[str, Touched] = {
    "gateway-1": users_of(0),
    "todos-1": users_of(0),
    "postgres": everybody,
    "valkey": nobody,
    "provider": nobody,
}
ALL = ("postgres", "valkey", "provider", "todos-1", "todos-2", "gateway-1", "gateway-2")


def scenarios() -> list[Scenario]:
    found = []
    for name, touched in TOUCHED.items():
        found += [
            Scenario(f"{name}-killed", f"{name} is killed, and started 4 s later", touched, killed(name)),
            Scenario(f"{name}-frozen", f"{name} is stopped by a signal for 4 s", touched, frozen(name), FREEZE_SECONDS),
        ]
    for name, touched in {"gateway-1": nobody, "todos-1": nobody, "postgres": everybody}.items():
        does = f"{name} is stopped in order and started again"
        found.append(Scenario(f"{name}-restarted", does, touched, restarted(name), 1))
    does = "todos-1 is stopped by a signal for longer than the gateway waits"
    found.append(Scenario("todos-1-long-frozen", does, users_of(0), frozen("todos-1"), LONG_FREEZE_SECONDS))
    found.append(Scenario("all-killed", "all seven processes are killed at once", everybody, killed(*ALL)))
    return found
