"""Counters and histograms for the hot path, without locks.

prometheus_client takes a lock and builds objects for each observation, since any thread may observe. Here one event
loop both observes and collects, so a plain integer is enough. Everything else uses prometheus_client itself.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import override

from prometheus_client import CollectorRegistry, GCCollector, Info, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime.build import build_of

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of every duration's buckets."""


def service_registry(service: str) -> CollectorRegistry:
    """A registry with what every service shows: its build, its process and the garbage collector."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    for collector in (ProcessCollector, GCCollector):
        collector(registry=registry)
    Info(f"{service}_build", "The version that runs, and Python's.", registry=registry).info(
        build_of(service)._asdict()
    )
    return registry


class Counts(Collector):
    """A counter for each tuple of label values; without labels it starts at zero."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._counts: defaultdict[tuple[str | int, ...], int] = defaultdict(int)
        if not labels:
            self._counts[()] = 0
        registry.register(self)

    def add(self, *values: str | int) -> None:
        """Count one, under a value for each label."""
        self._counts[values] += 1

    @override
    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric([str(value) for value in values], count)
        yield family


class Durations(Collector):
    """A histogram of seconds for each tuple of label values; without labels it starts at zero."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._tallies: defaultdict[tuple[str, ...], _Tally] = defaultdict(_Tally)
        if not labels:
            self._tallies[()] = _Tally()
        registry.register(self)

    def observe(self, seconds: float, *values: str) -> None:
        """Count one duration, under a value for each label."""
        tally = self._tallies[values]
        tally.counts[bisect_left(SECONDS, seconds)] += 1
        tally.seconds += seconds

    @override
    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        bounds = [*map(str, SECONDS), "+Inf"]
        for values, tally in self._tallies.items():
            buckets = [*zip(bounds, accumulate(tally.counts), strict=True)]
            family.add_metric(values, buckets, tally.seconds)
        yield family


class _Tally:
    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0
