"""Break the pair in every way there is, under users who check every answer: `make chaos`.

Starts two gateways, two todos, PostgreSQL, Valkey and an identity provider on loopback, and plays one scenario after
the other: calm, a fault, the time after it. All of them, about a quarter of an hour, write docs/resilience.md.
Exits 0 where every promise held, 1 where one did not.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tests.resilience import catalogue, disk, progress, report
from tests.resilience.conductor import Pace
from tests.resilience.run import Run, run
from tests.resilience.scenario import Scenario


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.list:
        for scenario in catalogue.scenarios():
            print(f"{scenario.name:<28} {scenario.does}")
        return 0
    disk.enter_namespace()
    chosen, pace = catalogue.scenarios(), Pace()
    if arguments.quick:
        chosen, pace = catalogue.short(), catalogue.SHORT_PACE
    if arguments.only:
        known = {scenario.name: scenario for scenario in catalogue.scenarios()}
        if unknown := set(arguments.only) - known.keys():
            parser.error(f"there is no scenario {', '.join(sorted(unknown))}; --list names them all")
        chosen = [known[name] for name in arguments.only]
    for scenario in catalogue.skipped():
        print(f"Skipped: {scenario.name}, since this system lets no user mount a disk of their own.")
        chosen = [each for each in chosen if each.name != scenario.name]
    return _play(chosen, pace, arguments.seed, report_it=not (arguments.quick or arguments.only))


def _play(chosen: Sequence[Scenario], pace: Pace, seed: int, *, report_it: bool) -> int:
    print(f"{len(chosen)} scenarios with seed {seed}; the same again: make chaos SEED={seed}", flush=True)

    def tell(so_far: Run) -> None:
        print(progress.line(len(so_far.played), len(chosen), so_far.played[-1]), flush=True)

    done = uvloop.run(run(chosen, pace, seed, tell=tell))
    for breach in done.unprovoked:
        print(f"While nothing was broken: {breach}")
    print(f"{len(done.breaches)} breaches." if done.breaches else "Every promise held.")
    if report_it:
        print(f"Written: {report.write(done).relative_to(Path.cwd())}, with a picture beside it.")
    return 1 if done.breaches else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.resilience", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="what the dice start from")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these scenarios alone")
    parser.add_argument("--quick", action="store_true", help="the few of `make test`, in half a minute")
    parser.add_argument("--list", action="store_true", help="name the scenarios, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
