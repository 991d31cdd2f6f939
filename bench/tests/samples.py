"""Rounds as they would come of a run."""

from bench.rounds import FASTIFY, HAPROXY, OURS, TEXTBOOK, Round, Sample


def sample(cpu_us: float) -> Sample:
    return Sample(
        cpu_us=cpu_us, per_second=1000, p50_us={1: 200, 32: 400}, p99_us={1: 300, 32: 900}, resident_bytes=64 << 20
    )


def rounds(*costs: dict[str, float]) -> list[Round]:
    """One round for each of `costs`, in microseconds by contender."""
    return [{name: sample(cost) for name, cost in one.items()} for one in costs]


def whole_run() -> dict[str, list[Round]]:
    """Every suite with every peer."""
    three = {OURS: 100.0, TEXTBOOK: 2000.0, FASTIFY: 200.0}
    return {
        "gateway": rounds({**three, HAPROXY: 50.0}),
        "todos_list": rounds(three),
        "todos_create": rounds(three),
        "pair": rounds({OURS: 100.0, TEXTBOOK: 2000.0}),
    }
