"""The results for a screen."""

from collections.abc import Mapping, Sequence

from bench.figures import FIGURES, Spread, figures
from bench.rounds import Round, Suite
from bench.trips import Trips

HEADINGS = {
    "cpu_us_per_request": "CPU us/request",
    "requests_per_second": "requests/s",
    "p50_us_at_1": "p50 us, 1",
    "p99_us_at_1": "p99 us, 1",
    "p50_us_at_32": "p50 us, 32",
    "p99_us_at_32": "p99 us, 32",
    "resident_mib": "MiB",
}


def table(suite: Suite, rounds: Sequence[Round], names: Sequence[str]) -> str:
    """One line a contender: the median, and in brackets the lowest and the highest of the rounds."""
    lines = [["", *(HEADINGS[name] for name in FIGURES)]]
    for name in names:
        found = figures(rounds, name)
        lines.append([name, *(str(found[one]) if one in found else "-" for one in FIGURES)])
    return f"\n{suite.title}, costs at {suite.connections} connections\n{aligned(lines)}"


def ratio_table(found: Mapping[str, Spread | None]) -> str:
    """One line a ratio."""
    lines = [[name, str(spread) if spread else "peer is missing"] for name, spread in found.items()]
    if not lines:
        return ""
    return f"\nOurs over theirs, within each round\n{aligned(lines)}"


def trips_table(trips: Trips) -> str:
    """One line for each kind of request of each contender."""
    lines = [["", "database round trips", "ms with 5 ms each way"]]
    for name, kinds in trips.database.items():
        lines += [[f"{name} {kind}", f"{trip.turns:g}", f"{trip.delayed_ms:g}"] for kind, trip in kinds.items()]
    redis = f"\nRedis round trips of a request to our gateway: {trips.redis:g}" if trips.redis is not None else ""
    return f"\nOne request at a time\n{aligned(lines)}{redis}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) if lines else 0)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
