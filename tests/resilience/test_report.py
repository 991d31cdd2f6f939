"""The report says what was played, and the picture shows when requests failed."""

import contextlib
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.resilience import report, timeline
from tests.resilience.client import Outcome
from tests.resilience.conductor import Played
from tests.resilience.promises import Breach, Promise
from tests.resilience.run import Run
from tests.resilience.scenario import Scenario, everybody

BEGAN, ENDED = 1000.0, 1004.8


def answered(ended: float, status: int = 200, code: str = "") -> Outcome:
    return Outcome("user-1", 0, "GET", "/v1/todos", ended - 0.01, 0.01, status, code, "id")


def played(*outcomes: Outcome, breaches: tuple[Breach, ...] = ()) -> Played:
    scenario = Scenario("some-fault", "something & more is broken", everybody, lambda _stage: contextlib.nullcontext())
    return Played(scenario, outcomes, BEGAN, ENDED, 0.01, breaches, peak={"gateway": 99 << 20, "todos": 88 << 20})


def test_a_request_stands_where_it_ended_before_within_and_after_the_fault() -> None:
    before, during, after = timeline.CELLS
    found = timeline.cells(
        played(
            answered(BEGAN - 1.49),
            answered(BEGAN + 0.05, 503),
            answered(BEGAN + 0.05),
            answered(ENDED + 0.01),
            answered(ENDED + 100),
        )
    )
    filled = {place: (cell.answers, cell.failures) for place, cell in enumerate(found) if cell.answers}
    assert filled == {0: (1, 0), before: (2, 1), before + during: (1, 0)}
    assert len(found) == before + during + after


def test_the_picture_is_well_formed_and_red_where_requests_failed() -> None:
    calm, troubled = (ET.fromstring(timeline.plot([played(answered(BEGAN + 1, status))])) for status in (200, 503))
    red = f".//{{http://www.w3.org/2000/svg}}path[@fill='{timeline.RED}']"
    assert [path.get("d") == "" for path in calm.findall(red)] == [True]
    assert [path.get("d") == "" for path in troubled.findall(red)] == [False]


def test_the_page_tells_the_seed_the_errors_and_what_was_broken(tmp_path: Path) -> None:
    breach = Breach(Promise.KEPT, "user-1 misses a todo")
    failure = answered(BEGAN + 1, 503, "database_unavailable")
    page = report.write(Run(7, [played(failure, breaches=(breach,))]), tmp_path).read_text()
    assert "make chaos SEED=7" in page
    assert "1 `database_unavailable`" in page
    assert f"`some-fault`: {breach}" in page
    assert "Every promise held" not in page
    assert "Every promise held" in report.write(Run(7, [played(failure)]), tmp_path).read_text()
