"""A fault: what it does, and whom it touches."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random

from tests.resilience.client import Outcome
from tests.resilience.cluster import Cluster
from tests.resilience.crowd import Crowd
from tests.resilience.promises import Breaches

type Touched = Callable[[Outcome], bool]
type Fault = Callable[["Stage"], AbstractAsyncContextManager[object]]


@dataclass(frozen=True)
class Stage:
    """What a fault can lay hands on."""

    cluster: Cluster
    crowd: Crowd
    dice: Random
    notes: list[str] = field(default_factory=list)
    """What the fault itself saw, for the report."""
    breaches: Breaches = field(default_factory=Breaches)
    """What it found broken."""


@dataclass(frozen=True)
class Scenario:
    """`fault` breaks something when it is entered and mends it when it is left.

    `touched` says of an answer whether the fault may show in it. It lasts `seconds`. `needs_disk`: it is left out
    where PostgreSQL has no disk of its own.
    """

    name: str
    does: str
    touched: Touched
    fault: Fault
    seconds: float = 4
    needs_disk: bool = False


def everybody(_outcome: Outcome) -> bool:
    return True


def nobody(_outcome: Outcome) -> bool:
    return False


def writers(outcome: Outcome) -> bool:
    return outcome.write


def users_of(zone: int) -> Touched:
    """Those whose front is that of the zone, from 0."""
    return lambda outcome: outcome.zone == zone


async def blocking(work: Callable[[], object]) -> None:
    """Run what blocks beside the loop."""
    await asyncio.to_thread(work)
