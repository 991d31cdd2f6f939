"""`docs/resilience.md`: what was broken, what users saw, and which promises held."""

import os
import platform
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.resilience import timeline
from tests.resilience.conductor import CALM_FACTOR, QUICK_SECONDS, RECOVERY_SECONDS, Played
from tests.resilience.promises import Promise
from tests.resilience.run import Run
from tests.resilience.usage import MIB, memory_limit

DOCS = Path(__file__).resolve().parents[2] / "docs"
MOST_BREACHES = 5


def write(run: Run, folder: Path = DOCS) -> Path:
    """Write the page and its picture; return the page."""
    (folder / "resilience.svg").write_text(timeline.plot(run.played))
    page = folder / "resilience.md"
    page.write_text("\n".join(_lines(run)) + "\n")
    return page


def _lines(run: Run) -> Iterator[str]:
    requests = sum(len(each.outcomes) for each in run.played)
    broken = [each for each in run.played if each.breaches]
    yield f"""# Resilience

What users see while parts of the pair break, and while one account abuses it. Written by `make chaos`.

Two gateways, two todos, PostgreSQL, Valkey and an identity provider run as real processes on one machine, in two
zones, with a balancer before each service that sends new connections to a ready replica, that of its own zone first.
Thirty users work through them, within the default limits. Each holds every answer to a model of its own todos, and a
follower of its changes must end with the same. A write without an answer is sent again, as a client does, under its
`Idempotency-Key` or precondition; a third of the creations carry no key.

**{"Every promise held" if not run.breaches else f"Promises were broken in {len(broken)} scenarios"}:**
{len(run.played)} scenarios, {requests:,} requests, seed {run.seed}, {time.strftime("%-d %B %Y", time.gmtime())}, on
{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}. The same again:
`make chaos SEED={run.seed}`; one scenario: `make chaos ONLY={run.played[0].scenario.name}`; all their names:
`.venv/bin/python -m tests.resilience --list`.

![What users saw before, during and after each fault](resilience.svg)

## Promises

"""
    yield from (f"- {promise}" for promise in Promise)
    yield f"""
"As quickly" is a 99th percentile within {CALM_FACTOR} times that of calm or {QUICK_SECONDS * 1000:.0f} ms, whichever is
more; "served well" is no error to a request that begins {RECOVERY_SECONDS} s or more after the fault. The manifests
give the gateway {memory_limit("gateway") // MIB} MiB and todos {memory_limit("todos") // MIB} MiB. That a broken
promise is found is shown by `tests/resilience/test_planted_faults.py`, which plants a fault for each. A few scenarios
are played at each `make test`.

## Scenarios

Whom a fault touches is said beforehand: the users of the first zone where it hits that zone alone, nobody where it hits
Valkey, the provider or comes from abusive accounts. Errors are those of the touched, or breaches.

| scenario | what is broken | answers | errors | untouched p99 | served after | memory, gateway and todos | promises |
|---|---|---|---|---|---|---|---|"""
    yield from map(_row, run.played)
    if run.breaches:
        yield "\n## Broken\n"
        yield from (f"- while nothing was broken: {breach}" for breach in run.unprovoked)
        for each in broken:
            yield from (f"- `{each.scenario.name}`: {breach}" for breach in each.breaches[:MOST_BREACHES])
            if len(each.breaches) > MOST_BREACHES:
                yield f"- `{each.scenario.name}`: {len(each.breaches) - MOST_BREACHES} more"


def _row(played: Played) -> str:
    failures = Counter(each.code or str(each.status) for each in played.failures)
    told = ", ".join(f"{count} `{what}`" for what, count in failures.most_common()) or "none"
    quick = f"{played.untouched_p99 * 1000:.0f} ms" if played.untouched_p99 is not None else "nobody is"
    memory = ", ".join(f"{played.peak[service] / MIB:.0f}" for service in ("gateway", "todos"))
    does = "; ".join([played.scenario.does, *played.notes])
    verdict = f"**{len(played.breaches)} broken**" if played.breaches else "held"
    return (
        f"| `{played.scenario.name}` | {does} | {len(played.outcomes)} | {told} | {quick} | "
        f"{played.recovered_after:.1f} s | {memory} MiB | {verdict} |"
    )
