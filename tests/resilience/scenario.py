"""A fault: what it does, and whom it touches."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random

from tests.resilience.client import Outcome
from tests.resilience.cluster import Cluster
from tests.resilience.crowd import Crowd

type Touched = Callable[[Outcome], bool]
type Fault = Callable[["Stage"], AbstractAsyncContextManager[object]]


@dataclass(frozen=True)
class Stage:
    """What a fault can lay hands on."""

    cluster: Cluster
    crowd: Crowd
    dice: Random


@dataclass(frozen=True)
class Scenario:
    """`fault` breaks something when it is entered and mends it when it is left.

    `touched` says of an answer whether the fault may show in it. It lasts `seconds`.
    """

    name: str
    does: str
    touched: Touched
    fault: Fault
    seconds: float = 4


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
