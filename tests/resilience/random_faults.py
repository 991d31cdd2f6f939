"""Everything at random: processes fail in one lane, the network in another, at the same time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

from tests.resilience import network_faults, process_faults
from tests.resilience.scenario import Scenario, Stage, everybody

SECONDS = 60
LASTS = (0.5, 3.0)
PAUSES = (0.2, 1.5)
TOO_MUCH = frozenset({"all-killed", "todos-1-long-frozen"})


@contextlib.asynccontextmanager
async def at_random(stage: Stage) -> AsyncIterator[None]:
    lanes = (process_faults.scenarios(), network_faults.scenarios())
    ends = time.monotonic() + SECONDS
    playing = [asyncio.create_task(_lane(stage, lane, ends)) for lane in lanes]
    try:
        yield
    finally:
        await asyncio.gather(*playing)
        await stage.cluster.all_ready()


async def _lane(stage: Stage, lane: Sequence[Scenario], ends: float) -> None:
    choices = [scenario for scenario in lane if scenario.name not in TOO_MUCH]
    while time.monotonic() < ends:
        async with stage.dice.choice(choices).fault(stage):
            await asyncio.sleep(stage.dice.uniform(*LASTS))
        await asyncio.sleep(stage.dice.uniform(*PAUSES))


def scenarios() -> list[Scenario]:
    does = f"for {SECONDS} s processes are killed, frozen and restarted, and networks fail, at random"
    return [Scenario("random", does, everybody, at_random, SECONDS)]
