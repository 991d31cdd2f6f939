"""The parts of the stack, each started as soon as those it needs are ready, with progress on the screen."""

import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import httpx

from devtools.processes import Child, Pause, StartError

_STEP_SECONDS = 0.02
_ANSWER_SECONDS = 1


@dataclass(frozen=True)
class Part:
    """What `begin` starts is ready once `ready` says so of it; the parts named in `needs` are ready before."""

    name: str
    address: str
    needs: Collection[str]
    begin: Callable[[], Child]
    ready: Callable[[Child], bool]


def start_parts(parts: Sequence[Part], seconds: float, pause: Pause) -> None:
    """Start every part and print a line when it is ready.

    Raises:
        StartError: a part ended before it was ready, or was not ready `seconds` after its start.
    """
    begun: dict[str, tuple[float, Child]] = {}
    ready: set[str] = set()
    while len(ready) < len(parts):
        for part in parts:
            if part.name not in begun and ready.issuperset(part.needs):
                _tell_waiting([*begun.keys() - ready, part.name])
                began = time.monotonic()
                begun[part.name] = began, part.begin()
            if part.name in begun and part.name not in ready:
                began, child = begun[part.name]
                if _is_ready(part, child, began + seconds):
                    ready.add(part.name)
                    _tell_ready(part, time.monotonic() - began)
                    _tell_waiting(begun.keys() - ready)
        pause(_STEP_SECONDS)


def _is_ready(part: Part, child: Child, deadline: float) -> bool:
    if part.ready(child):
        return True
    if not child.alive:
        raise child.failure()
    if time.monotonic() > deadline:
        raise StartError(f"{child.name} was not ready in time:\n{child.last_lines()}")
    return False


def runs(child: Child) -> bool:
    """For a part whose start returns when it is ready."""
    return child.alive


def has_ended_well(child: Child) -> bool:
    """For a part that does its work and ends."""
    return child.exit_code == 0


def answers(url: str) -> Callable[[Child], bool]:
    """For a part that answers a GET of `url` with success once it is ready."""

    def ready(child: Child) -> bool:
        try:
            answer = httpx.get(url, trust_env=False, timeout=_ANSWER_SECONDS)
        except httpx.TransportError:
            return False
        return answer.is_success and child.alive

    return ready


def _tell_ready(part: Part, seconds: float) -> None:
    _tell_waiting([])
    print(f"  {part.name:<18} {part.address:<58} {seconds:5.1f} s")


def _tell_waiting(names: Collection[str]) -> None:
    if sys.stdout.isatty():
        waiting = f"  starting {', '.join(sorted(names))}" if names else ""
        print(f"\r\x1b[K{waiting}", end="", flush=True)
