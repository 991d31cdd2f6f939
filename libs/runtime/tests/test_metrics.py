import math

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from runtime.metrics import SECONDS, Counts, Durations

_LABELS = st.tuples(st.sampled_from(["/v1/todos", 'a"b\\c\n']), st.sampled_from(["GET", "other"]))


def _shown(registry: CollectorRegistry) -> list[str]:
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if not line.startswith("#") and "_created" not in line)


@settings(deadline=None)
@given(st.lists(_LABELS))
def test_counts_are_shown_as_prometheus_client_shows_its_own(counted: list[tuple[str, str]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts = Counts("x_total", "x", ["route", "method"], ours)
    counter = Counter("x_total", "x", ["route", "method"], registry=theirs)
    for values in counted:
        counts.add(*values)
        counter.labels(*values).inc()
    assert _shown(ours) == _shown(theirs)


@settings(deadline=None)
@given(st.lists(st.tuples(_LABELS, st.sampled_from([*SECONDS, 0.0, 0.0011, 3.0, 11.0, 1e9]))))
def test_durations_are_shown_as_prometheus_client_shows_its_own(
    observed: list[tuple[tuple[str, str], float]],
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("x_seconds", "x", ["route", "method"], ours)
    histogram = Histogram("x_seconds", "x", ["route", "method"], buckets=SECONDS, registry=theirs)
    for values, seconds in observed:
        durations.observe(seconds, *values)
        histogram.labels(*values).observe(seconds)
    assert _shown(ours) == _shown(theirs)


def test_what_has_no_labels_is_there_before_the_first_request() -> None:
    registry = CollectorRegistry()
    Counts("x_total", "x", [], registry)
    Durations("y_seconds", "y", [], registry)
    assert registry.get_sample_value("x_total") == 0
    assert registry.get_sample_value("y_seconds_count") == 0
    assert registry.get_sample_value("y_seconds_bucket", {"le": "+Inf"}) == 0
    assert math.isclose(registry.get_sample_value("y_seconds_sum") or 0.0, 0.0)


def test_a_status_is_counted_as_a_number_and_shown_as_text() -> None:
    registry = CollectorRegistry()
    Counts("x_total", "x", ["status"], registry).add(200)
    assert registry.get_sample_value("x_total", {"status": "200"}) == 1
