"""The network between any two processes cut, slowed, held, and severed in mid-answer."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from tests.resilience.proxies import Link
from tests.resilience.scenario import Fault, Scenario, Stage, Touched, everybody, nobody, users_of

SLOW_SECONDS = 0.1
SEVERED_BYTES = 40

TOUCHED: dict[str, Touched] = {
    "users-gateway-1": users_of(0),
    "gateway-1-todos": users_of(0),
    "todos-1-postgres": users_of(0),
    "gateway-1-valkey": nobody,
    "gateway-1-provider": nobody,
}
BLACK_HOLE = ("todos-1-postgres", "todos-2-postgres")


@contextlib.asynccontextmanager
async def cut(link: Link) -> AsyncIterator[None]:
    link.cut()
    try:
        yield
    finally:
        await link.listen()


@contextlib.asynccontextmanager
async def held(link: Link) -> AsyncIterator[None]:
    link.hold()
    try:
        yield
    finally:
        link.release()


@contextlib.asynccontextmanager
async def slowed(link: Link) -> AsyncIterator[None]:
    link.delay = SLOW_SECONDS
    try:
        yield
    finally:
        link.delay = 0


@contextlib.asynccontextmanager
async def severed_in_answers(link: Link) -> AsyncIterator[None]:
    link.sever_after = SEVERED_BYTES
    try:
        yield
    finally:
        link.sever_after = None


def on(do: Callable[[Link], AbstractAsyncContextManager[None]], *names: str) -> Fault:
    """The same done to each of these links."""

    @contextlib.asynccontextmanager
    async def fault(stage: Stage) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as mending:
            for name in names:
                await mending.enter_async_context(do(stage.cluster.links[name]))
            yield

    return fault


def scenarios() -> list[Scenario]:
    ways = (
        ("cut", "resets every connection and refuses new ones", cut),
        ("slow", f"takes {SLOW_SECONDS * 1000:g} ms longer, each way", slowed),
        ("held", "passes nothing on for 4 s", held),
    )
    found = [
        Scenario(f"{name}-{way}", f"the network {name.replace('-', ' ')} {does}", touched, on(do, name))
        for name, touched in TOUCHED.items()
        for way, does, do in ways
    ]
    black_hole = "the network between todos and PostgreSQL passes nothing on for 8 s"
    severed = f"every answer of PostgreSQL ends after {SEVERED_BYTES} bytes, and its connection with it"
    found.append(Scenario("postgres-black-holed", black_hole, everybody, on(held, *BLACK_HOLE), 8))
    found.append(Scenario("postgres-severed", severed, everybody, on(severed_in_answers, *BLACK_HOLE)))
    severed = f"every answer of todos ends after {SEVERED_BYTES} bytes, and its connection with it"
    found.append(Scenario("gateway-1-todos-severed", severed, users_of(0), on(severed_in_answers, "gateway-1-todos")))
    return found
