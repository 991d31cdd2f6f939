"""Medians with their spread, and ratios taken within a round."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Self

from bench.rounds import FASTIFY, HAPROXY, HIGH, LOW, OURS, TEXTBOOK, Round, Sample

type Value = Callable[[Sample], float | None]
"""A figure of a sample; None where that round did not take it."""


@dataclass(frozen=True)
class Spread:
    """The median over the rounds, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        return cls(median(values), min(values), max(values)) if values else None

    def __str__(self) -> str:
        if self.low == self.high:
            return _short(self.median)
        return f"{_short(self.median)} ({_short(self.low)}-{_short(self.high)})"


def _cpu(sample: Sample) -> float:
    return sample.cpu_us


def _per_second(sample: Sample) -> float:
    return sample.per_second


def _p50(connections: int) -> Value:
    return lambda sample: sample.p50_us.get(connections)


def _p99(connections: int) -> Value:
    return lambda sample: sample.p99_us.get(connections)


FIGURES: dict[str, Value] = {
    "cpu_us_per_request": _cpu,
    "requests_per_second": _per_second,
    f"p50_us_at_{LOW}": _p50(LOW),
    f"p99_us_at_{LOW}": _p99(LOW),
    f"p50_us_at_{HIGH}": _p50(HIGH),
    f"p99_us_at_{HIGH}": _p99(HIGH),
    "resident_mib": lambda sample: sample.resident_bytes / 2**20,
}

RATIOS: dict[str, tuple[str, str, Value]] = {
    "gateway_vs_fastify": ("gateway", FASTIFY, _cpu),
    "gateway_vs_haproxy": ("gateway", HAPROXY, _cpu),
    "gateway_vs_textbook": ("gateway", TEXTBOOK, _cpu),
    "todos_list_vs_fastify_pg": ("todos_list", FASTIFY, _cpu),
    "todos_list_vs_textbook": ("todos_list", TEXTBOOK, _cpu),
    "todos_create_vs_textbook": ("todos_create", TEXTBOOK, _cpu),
    "pair_vs_textbook_throughput": ("pair", TEXTBOOK, _per_second),
}
"""Ours over theirs: the suite, the peer, and what of both."""

LATENCY_RATIOS: dict[str, tuple[str, str, Value]] = {
    "gateway_p50_at_1_vs_haproxy": ("gateway", HAPROXY, _p50(LOW)),
    "gateway_p99_at_32_vs_fastify": ("gateway", FASTIFY, _p99(HIGH)),
}


def figures(rounds: Sequence[Round], name: str) -> dict[str, Spread]:
    """What one contender took and gave."""
    samples = [one[name] for one in rounds if name in one]
    found = {title: Spread.of(_taken(value, samples)) for title, value in FIGURES.items()}
    return {title: spread for title, spread in found.items() if spread}


def ratio(rounds: Sequence[Round], peer: str, value: Value) -> Spread | None:
    """Ours over the peer's, each within its round; None where the peer was not there."""
    pairs = [(value(one[OURS]), value(one[peer])) for one in rounds if peer in one]
    return Spread.of([ours / theirs for ours, theirs in pairs if ours is not None and theirs])


def ratios(played: dict[str, list[Round]], asked: dict[str, tuple[str, str, Value]]) -> dict[str, Spread | None]:
    """Each of `asked`, by its name."""
    return {name: ratio(played.get(suite, []), peer, value) for name, (suite, peer, value) in asked.items()}


def plain(spread: Spread | None) -> dict[str, float] | None:
    """For JSON, rounded to four digits."""
    return {name: float(f"{value:.4g}") for name, value in asdict(spread).items()} if spread else None


def _taken(value: Value, samples: Sequence[Sample]) -> list[float]:
    return [taken for sample in samples if (taken := value(sample)) is not None]


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"  # noqa: PLR2004 - three digits are what a figure is good for
