import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.plot import Panel, plot
from bench.record import Played, document, write_results
from bench.rounds import FASTIFY, OURS, QUICK, Suite
from bench.table import aligned, ratio_table, table, trips_table
from bench.tests.samples import rounds, whole_run
from bench.trips import Trip, Trips

KEYS = {
    "gateway_vs_fastify",
    "gateway_vs_haproxy",
    "gateway_vs_textbook",
    "todos_list_vs_fastify_pg",
    "todos_list_vs_textbook",
    "todos_create_vs_textbook",
    "pair_vs_textbook_throughput",
    "database_round_trips_read",
    "database_round_trips_write",
}
TRIPS = Trips({OURS: {"GET": Trip(1.0, 12.1), "POST": Trip(1.0, 12.5)}}, redis=1.0)


@pytest.fixture
def played() -> Played:
    return Played(rounds=whole_run(), trips=TRIPS, judged_by_redis={"gateway": 1.0})


def test_the_ratios_are_these_and_no_others(played: Played) -> None:
    ratios = document(played, QUICK)["ratios"]
    assert isinstance(ratios, dict)
    assert ratios.keys() == KEYS
    assert ratios["gateway_vs_haproxy"] == 2.0
    assert ratios["database_round_trips_write"] == 1.0


def test_what_could_not_be_measured_is_null(played: Played) -> None:
    for one in played.rounds["gateway"]:
        del one[FASTIFY]
    played.trips = Trips()
    ratios = document(played, QUICK)["ratios"]
    assert isinstance(ratios, dict)
    assert ratios.keys() == KEYS
    assert ratios["gateway_vs_fastify"] is None
    assert ratios["database_round_trips_read"] is None


def test_the_files_tell_the_machine_but_not_whose_it_is(played: Played, tmp_path: Path) -> None:
    write_results(played, QUICK, tmp_path)
    text = (tmp_path / "latest.json").read_text()
    assert {"date", "commit", "cores", "python", "packages"} <= json.loads(text)["machine"].keys()
    assert str(Path(__file__).parents[2]) not in text
    assert Path("/proc/sys/kernel/hostname").read_text().strip() not in json.loads(text)["machine"].values()
    ET.fromstring((tmp_path / "latest.svg").read_text())


def test_the_longest_bar_ends_inside_the_picture_and_the_others_are_in_proportion() -> None:
    root = ET.fromstring(plot([Panel("A & B", "<us>", [("ours", 50.0), ("theirs", 200.0)])]))
    bars = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars[1] == pytest.approx(4 * bars[0])
    assert bars[1] < float(root.attrib["width"])


def test_the_table_has_a_line_for_each_contender_with_gaps_where_nothing_was_taken() -> None:
    names = (OURS, FASTIFY)
    played = rounds(dict.fromkeys(names, 100.0))
    played[0][FASTIFY].p50_us.clear()
    suite = Suite("gateway", "the gateway hop", 32, [])
    lines = table(suite, played, names).splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["ours", "fastify"]
    assert " - " in lines[-1]
    assert len({len(line) for line in lines[-3:]}) == 1


def test_tables_of_nothing_are_no_error() -> None:
    assert aligned([]) == ""
    assert ratio_table({}) == ""


def test_round_trips_are_told_by_method() -> None:
    shown = trips_table(TRIPS)
    assert "ours GET" in shown
    assert "12.1" in shown
