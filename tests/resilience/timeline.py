"""The run as a picture: a line for each scenario, green where requests were answered, red where they failed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

from tests.resilience.client import Outcome
from tests.resilience.conductor import Played

GREEN, RED, GREY, TEXT = "#2da44e", "#cf222e", "#8c959f", "#7d8590"
WIDTH, LEFT, ROW, BAR, TOP = 980, 190, 17, 12, 64
CELL = 9
CELLS = (6, 48, 16)
"""Before the fault, while it lasts, and after it: each part is as wide, however long it takes."""
BEFORE_SECONDS, AFTER_SECONDS = 1.5, 4.0


@dataclass(frozen=True)
class Cell:
    """Requests that ended in it, and how many of them failed."""

    answers: int
    failures: int

    @property
    def red(self) -> int:
        """Pixels, of `BAR`."""
        return -(-self.failures * BAR // self.answers) if self.failures else 0


def plot(played: Sequence[Played]) -> str:
    """The SVG document."""
    height = TOP + len(played) * ROW + 12
    rows = [_row(each, TOP + number * ROW) for number, each in enumerate(played)]
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    font = f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img">',
        "<title>What users saw before, during and after each fault</title>",
        *_legend(height),
        *rows,
        "</svg>\n",
    ])  # fmt: skip


def cells(played: Played) -> list[Cell]:
    """The requests of a scenario by when they ended: before the fault, while it lasted, after it."""
    found = [[0, 0] for _ in range(sum(CELLS))]
    for outcome in played.outcomes:
        place = _place(outcome, played)
        if place is not None:
            found[place][0] += 1
            found[place][1] += outcome.failed
    return [Cell(answers, failures) for answers, failures in found]


def _place(outcome: Outcome, played: Played) -> int | None:
    before, during, after = CELLS
    spans = (
        (played.began - BEFORE_SECONDS, played.began, 0, before),
        (played.began, played.ended, before, during),
        (played.ended, played.ended + AFTER_SECONDS, before + during, after),
    )
    for start, end, first, count in spans:
        if start <= outcome.ended < end:
            return first + int((outcome.ended - start) / (end - start) * count)
    return None


def _row(played: Played, y: int) -> str:
    found = cells(played)
    verdict, colour = ("broken", RED) if played.breaches else ("held", GREEN)
    x = LEFT + sum(CELLS) * CELL + 10
    return "\n".join([
        f'<text x="{LEFT - 10}" y="{y + 10}" text-anchor="end">{escape(played.scenario.name)}</text>',
        f'<path fill="{GREEN}" d="{"".join(_runs(found, y, lambda cell: (0, BAR) if cell.answers else None))}"/>',
        f'<path fill="{RED}" d="{"".join(_runs(found, y, lambda cell: (0, cell.red) if cell.red else None))}"/>',
        f'<text x="{x}" y="{y + 10}">{played.ended - played.began:.0f} s</text>',
        f'<text x="{x + 40}" y="{y + 10}" fill="{colour}" font-weight="600">{verdict}</text>',
    ])  # fmt: skip


def _runs(found: Sequence[Cell], y: int, extent: Callable[[Cell], tuple[int, int] | None]) -> Iterator[str]:
    """Cells of the same extent, drawn together."""
    x = LEFT
    for drawn, group in groupby(found, key=extent):
        width = len([*group]) * CELL
        if drawn:
            offset, height = drawn
            yield f"M{x} {y + offset}h{width}v{height}h-{width}z"
        x += width


def _legend(height: int) -> list[str]:
    before, during, _ = CELLS
    began, ended = LEFT + before * CELL, LEFT + (before + during) * CELL
    lines = [
        f'<line x1="{x}" x2="{x}" y1="{TOP - 14}" y2="{height - 8}" stroke="{GREY}" stroke-dasharray="3 3"/>'
        for x in (began, ended)
    ]
    return [
        '<text x="0" y="16" font-size="14" font-weight="600">What users saw while something was broken</text>',
        f'<rect x="0" y="28" width="12" height="12" fill="{GREEN}"/><text x="18" y="38">answered</text>',
        f'<rect x="90" y="28" width="12" height="12" fill="{RED}"/>',
        '<text x="108" y="38">failed, as a share of the requests that ended then</text>',
        f'<text x="{began - 4}" y="{TOP - 6}" text-anchor="end">before</text>',
        f'<text x="{(began + ended) / 2:.0f}" y="{TOP - 6}" text-anchor="middle">while the fault lasts</text>',
        f'<text x="{ended + 4}" y="{TOP - 6}">after it</text>',
        *lines,
    ]
