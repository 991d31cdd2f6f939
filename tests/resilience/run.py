"""A run: the cluster and its crowd, warmed up, and scenarios one after the other."""

import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.resilience import cluster
from tests.resilience.conductor import Conductor, Pace, Played
from tests.resilience.crowd import USERS, Crowd
from tests.resilience.promises import Breach
from tests.resilience.scenario import Scenario, Stage

WARM_UP_SECONDS = 8


@dataclass
class Run:
    """What came of it; `unprovoked` was broken before anything was."""

    seed: int
    played: list[Played] = field(default_factory=list)
    unprovoked: Sequence[Breach] = ()

    @property
    def breaches(self) -> list[Breach]:
        return [*self.unprovoked, *(breach for each in self.played for breach in each.breaches)]


async def run(
    scenarios: Sequence[Scenario],
    pace: Pace,
    seed: int,
    *,
    tell: Callable[[Run], None],
    users: int = USERS,
    warm_up_seconds: float = WARM_UP_SECONDS,
) -> Run:
    """Play `scenarios`; `tell` hears after each what there is so far."""
    so_far = Run(seed)
    async with conducting(seed, pace, users) as conductor:
        so_far.unprovoked = await conductor.warm_up(warm_up_seconds)
        for scenario in scenarios:
            so_far.played.append(await conductor.play(scenario))
            tell(so_far)
    return so_far


@contextlib.asynccontextmanager
async def conducting(
    seed: int, pace: Pace, users: int = USERS, first_gateway: Sequence[str | Path] = cluster.GATEWAY
) -> AsyncIterator[Conductor]:
    """A cluster with its crowd, in a folder that is gone at the end."""
    dice = random.Random(seed)
    with _folder() as folder:
        async with cluster.running(folder, first_gateway) as started, Crowd(started, dice).gathered(users) as crowd:
            yield Conductor(Stage(started, crowd, dice), pace)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="resilience-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL may have to be another user
        yield folder
