"""`make bench`: us and the peers in one run.

QUICK=1 makes it short. ONLY=gateway,todos,pair,trips runs parts, and then writes no results.
"""

import os
import signal
import sys

from bench.figures import LATENCY_RATIOS, RATIOS, ratios
from bench.load import LoadError, wrk
from bench.ours import judged_by_redis
from bench.progress import tell
from bench.record import RESULTS, Played, write_results
from bench.rounds import FULL, QUICK, Pace, Suite, play
from bench.stage import Stage, fill, open_stage
from bench.suites import gateway_suite, pair_suite, todos_suites
from bench.table import ratio_table, table, trips_table
from bench.trips import measure_trips
from devtools.processes import StartError

BUSY = 0.5
PARTS = ("gateway", "todos", "pair", "trips")


def main() -> int:
    """Exit code 1 where it could not be measured, 2 where it was asked for what is not there."""
    if not sys.platform.startswith("linux"):
        print("What a process costs is read from /proc: this needs Linux.", file=sys.stderr)
        return 2
    if wrk() is None:
        print("wrk is missing: apt-get install wrk", file=sys.stderr)
        return 2
    parts = tuple(filter(None, os.environ.get("ONLY", "").split(","))) or PARTS
    if unknown := set(parts) - set(PARTS):
        print(f"ONLY takes {', '.join(PARTS)}, not {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # for what was started to be stopped
    pace = QUICK if os.environ.get("QUICK") else FULL
    try:
        played = measure(parts, pace)
    except (LoadError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if parts == PARTS:
        write_results(played, pace)
        print(f"\nWritten: {RESULTS.relative_to(RESULTS.parent.parent)}/latest.json and latest.svg")
    return 0


def measure(parts: tuple[str, ...], pace: Pace) -> Played:
    """Run the parts, and tell of each as soon as it is done.

    Raises:
        LoadError: what was measured is not what was meant to be.
        StartError: one of ours, or what all share, did not start.
    """
    played = Played()
    if played.load_before > BUSY:
        tell(f"this machine is busy (load average {played.load_before:g}): expect wide spreads")
    tell("starting PostgreSQL, Valkey and the identity provider")
    with open_stage() as stage:
        if parts != ("gateway",):
            fill(stage)
        if "gateway" in parts:
            _run(gateway_suite(stage, played.skipped), pace, played)
        if "todos" in parts:
            for suite in todos_suites(stage, played.skipped):
                _run(suite, pace, played)
        if "pair" in parts:
            _run(pair_suite(stage), pace, played)
        if "trips" in parts:
            _count(stage, played)
    found = {name: spread for name, spread in ratios(played.rounds, {**RATIOS, **LATENCY_RATIOS}).items() if spread}
    print(ratio_table(found))
    for name, how in played.skipped.items():
        print(f"\nSkipped {name}: {how}")
    return played


def _run(suite: Suite, pace: Pace, played: Played) -> None:
    played.rounds[suite.name] = play(suite, pace)
    print(table(suite, played.rounds[suite.name], [one.name for one in suite.contenders]), flush=True)
    gateway = suite.contenders[0].entry
    if suite.name in ("gateway", "pair"):
        played.judged_by_redis[suite.name] = judged_by_redis(gateway)
        print(f"Judged by Redis, of our gateway's requests: {played.judged_by_redis[suite.name]:.2%}", flush=True)


def _count(stage: Stage, played: Played) -> None:
    tell("round trips: one request at a time")
    played.trips = measure_trips(stage, played.skipped)
    print(trips_table(played.trips), flush=True)


if __name__ == "__main__":
    sys.exit(main())
