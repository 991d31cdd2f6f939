import pytest

from bench.figures import RATIOS, Spread, figures, plain, ratio, ratios
from bench.rounds import FASTIFY, HAPROXY, OURS, Sample
from bench.tests.samples import rounds, whole_run


def cpu(sample: Sample) -> float:
    return sample.cpu_us


def test_a_ratio_is_taken_within_each_round_before_the_median() -> None:
    noisy = rounds({OURS: 100, FASTIFY: 200}, {OURS: 1000, FASTIFY: 1000}, {OURS: 10, FASTIFY: 40})
    assert ratio(noisy, FASTIFY, cpu) == Spread(median=0.5, low=0.25, high=1.0)


def test_a_missing_peer_has_no_ratio() -> None:
    played = whole_run()
    for one in played["gateway"]:
        del one[HAPROXY]
    found = ratios(played, RATIOS)
    assert found["gateway_vs_haproxy"] is None
    assert found["gateway_vs_fastify"] == Spread(0.5, 0.5, 0.5)


def test_a_suite_that_was_not_played_has_no_ratio() -> None:
    assert set(ratios({}, RATIOS).values()) == {None}


def test_a_figure_that_only_some_rounds_took_is_of_those() -> None:
    played = rounds({OURS: 100}, {OURS: 300}, {OURS: 200})
    played[1][OURS].p50_us.clear()
    found = figures(played, OURS)
    assert found["cpu_us_per_request"] == Spread(200, 100, 300)
    assert found["p50_us_at_1"] == Spread(200, 200, 200)
    assert found["resident_mib"].median == 64


@pytest.mark.parametrize(
    ("spread", "shown"), [(Spread(1.234, 1.2, 9.9), "1.23 (1.20-9.90)"), (Spread(143.4, 143.4, 143.4), "143")]
)
def test_a_spread_is_shown_in_three_digits_and_without_brackets_where_there_is_none(spread: Spread, shown: str) -> None:
    assert str(spread) == shown


def test_json_holds_four_digits() -> None:
    assert plain(Spread(1234.56, 0.000123456, 1.0)) == {"median": 1235, "low": 0.0001235, "high": 1.0}
