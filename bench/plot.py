"""Bars as an SVG, in colours that read on light and on dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

OURS_COLOUR, THEIRS_COLOUR, TEXT_COLOUR = "#2f81f7", "#9aa4ae", "#7d8590"
WIDTH, LEFT, RIGHT = 720, 110, 90
TITLE_HEIGHT, BAR_HEIGHT, GAP, PANEL_GAP = 26, 18, 6, 20


@dataclass(frozen=True)
class Panel:
    """Bars of one unit; the first is ours."""

    title: str
    unit: str
    bars: Sequence[tuple[str, float]]

    @property
    def height(self) -> int:
        return TITLE_HEIGHT + len(self.bars) * (BAR_HEIGHT + GAP) + PANEL_GAP


def plot(panels: Sequence[Panel]) -> str:
    """The panels, one below the other, each with a scale of its own that begins at zero."""
    top = 0
    parts = []
    for panel in panels:
        parts.append(_drawn(panel, top))
        top += panel.height
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}"'
        f' font-family="system-ui, sans-serif" font-size="13" fill="{TEXT_COLOUR}" role="img">\n'
        f"<title>Ours beside the peers</title>\n{body}\n</svg>\n"
    )


def _drawn(panel: Panel, top: int) -> str:
    largest = max(value for _, value in panel.bars)
    lines = [f'<text x="0" y="{top + 15}" font-weight="600">{escape(panel.title)}, {escape(panel.unit)}</text>']
    for row, (name, value) in enumerate(panel.bars):
        y = top + TITLE_HEIGHT + row * (BAR_HEIGHT + GAP)
        width = max(1, value / largest * (WIDTH - LEFT - RIGHT))
        colour = THEIRS_COLOUR if row else OURS_COLOUR
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>',
            f'<text x="{LEFT + width + 8:.1f}" y="{y + 13}">{value:,.0f}</text>',
        ]
    return "\n".join(lines)
