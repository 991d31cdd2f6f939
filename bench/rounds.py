"""Contenders in turn, round after round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.load import Load, drive
from bench.progress import tell
from bench.stage import Running
from bench.usage import cpu_seconds, resident_bytes

OURS, TEXTBOOK, FASTIFY, HAPROXY = "ours", "textbook", "fastify", "haproxy"
LOW, HIGH = 1, 32
"""The connections at which latencies are told."""
MOST_PER_SECOND = 6_000
"""More than a service that takes each request for one time alone can answer on one core."""
STILL_FALLING = 0.9
"""A just-in-time compiler is at work while a run costs less than this part of the one before."""

type NewRequests = Callable[[int], Sequence[bytes]]
"""Requests for one run, at least as many as given, where each is good for one time alone."""


@dataclass(frozen=True)
class Pace:
    """How many rounds, and how many seconds each run in them takes; the lone client comes in so many of them."""

    rounds: int
    seconds: int
    lone_rounds: int
    warm_up_runs: int
    """Of a second each, at most."""
    latencies_at: tuple[int, ...]
    """Connections, beside those that costs are counted at."""


QUICK = Pace(rounds=3, seconds=1, lone_rounds=1, warm_up_runs=3, latencies_at=(LOW,))
FULL = Pace(rounds=7, seconds=3, lone_rounds=7, warm_up_runs=10, latencies_at=(LOW, HIGH))


@dataclass(frozen=True)
class Contender:
    """A server, or a chain of them, of which `measured` are what costs are counted of."""

    name: str
    entry: Running
    measured: Sequence[Running]
    new_requests: NewRequests

    @property
    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(one.child.pid) for one in self.measured)

    @property
    def resident_bytes(self) -> int:
        return sum(resident_bytes(one.child.pid) for one in self.measured)


@dataclass(frozen=True)
class Sample:
    """One contender in one round; latencies by connections, in microseconds."""

    cpu_us: float
    per_second: float
    p50_us: dict[int, int]
    p99_us: dict[int, int]
    resident_bytes: int


@dataclass(frozen=True)
class Suite:
    """One kind of work for several contenders, ours first, with the connections that costs are counted at."""

    name: str
    title: str
    connections: int
    contenders: Sequence[Contender]


type Round = dict[str, Sample]
"""By the contender's name."""


def play(suite: Suite, pace: Pace) -> list[Round]:
    """Every contender once a round, who goes first changing; one run before all of them does not count.

    Raises:
        LoadError: somebody refused a request.
    """
    for one in suite.contenders:
        _warm_up(suite, one, pace)
    rounds = []
    for number in range(pace.rounds):
        first = number % len(suite.contenders)
        order = [*suite.contenders[first:], *suite.contenders[:first]]
        order = order[::-1] if number % 2 else order
        tell(f"{suite.title}: round {number + 1} of {pace.rounds}")
        rounds.append({one.name: _sample(suite, one, pace, lone=number < pace.lone_rounds) for one in order})
    return rounds


def _warm_up(suite: Suite, one: Contender, pace: Pace) -> None:
    """Until a request costs no less than it did a second ago."""
    tell(f"{suite.title}: warming up {one.name}")
    cost, _ = _run(suite, one, suite.connections, 1)
    for _ in range(pace.warm_up_runs - 1):
        before = cost
        cost, _ = _run(suite, one, suite.connections, 1)
        if cost > before * STILL_FALLING:
            break


def _run(suite: Suite, one: Contender, connections: int, seconds: int) -> tuple[float, Load]:
    """CPU microseconds a request, and what wrk saw."""
    requests = one.new_requests(MOST_PER_SECOND * seconds)
    before = one.cpu_seconds
    load = drive(one.entry.port, requests, connections, seconds)
    cost = one.cpu_seconds - before
    load.check(f"{suite.title}, {one.name}", one.entry.child)
    return cost * 1e6 / load.requests, load


def _sample(suite: Suite, one: Contender, pace: Pace, *, lone: bool) -> Sample:
    cpu_us, main = _run(suite, one, suite.connections, pace.seconds)
    loads = {suite.connections: main}
    for connections in pace.latencies_at if lone else ():
        if connections not in loads:
            _, loads[connections] = _run(suite, one, connections, pace.seconds)
    return Sample(
        cpu_us=cpu_us,
        per_second=main.per_second,
        p50_us={connections: load.p50_us for connections, load in loads.items()},
        p99_us={connections: load.p99_us for connections, load in loads.items()},
        resident_bytes=one.resident_bytes,
    )
