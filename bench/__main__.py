"""`make bench`: us and the peers in one run. QUICK=1 for a short one, ONLY=gateway,todos,pair,trips for parts."""

import os
import sys

from bench.figures import LATENCY_RATIOS, RATIOS, ratios
from bench.load import LoadError, wrk
from bench.rounds import FULL, QUICK, Pace, Round, Suite, play
from bench.stage import Stage, fill, open_stage
from bench.suites import Skipped, gateway_suite, pair_suite, todos_suites
from bench.table import ratio_table, table
from devtools.processes import StartError

PARTS = ("gateway", "todos", "pair", "trips")


def main() -> int:
    """Exit code 1 where it could not be measured, 2 where it was asked for what is not there."""
    if not sys.platform.startswith("linux"):
        print("What a process costs is read from /proc: this needs Linux.", file=sys.stderr)
        return 2
    if wrk() is None:
        print("wrk is missing: apt-get install wrk, or brew install wrk", file=sys.stderr)
        return 2
    parts = tuple(filter(None, os.environ.get("ONLY", "").split(","))) or PARTS
    if unknown := set(parts) - set(PARTS):
        print(f"ONLY takes {', '.join(PARTS)}, not {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    pace = QUICK if os.environ.get("QUICK") else FULL
    try:
        measure(parts, pace)
    except (LoadError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def measure(parts: tuple[str, ...], pace: Pace) -> None:
    skipped: Skipped = {}
    played: dict[str, list[Round]] = {}

    def run(suite: Suite) -> None:
        played[suite.name] = play(suite, pace)
        print(table(suite, played[suite.name]), flush=True)

    with open_stage() as stage:
        prepare(stage, parts)
        if "gateway" in parts:
            run(gateway_suite(stage, skipped))
        if "todos" in parts:
            for suite in todos_suites(stage, skipped):
                run(suite)
        if "pair" in parts:
            run(pair_suite(stage))
    print(
        ratio_table({name: spread for name, spread in ratios(played, {**RATIOS, **LATENCY_RATIOS}).items() if spread})
    )


def prepare(stage: Stage, parts: tuple[str, ...]) -> None:
    if set(parts) - {"gateway"}:
        fill(stage)


if __name__ == "__main__":
    sys.exit(main())
