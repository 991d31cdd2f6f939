"""From exec to ready: `python -m bench.startup`. A readiness is seen 20 ms late at most."""

import sys
import time
from collections.abc import Callable
from functools import partial

from bench.figures import Spread, plain
from bench.long import keep
from bench.ours import start_gateway, start_todos
from bench.progress import tell
from bench.stage import Running, Stage, fill, open_stage

REPEATS = 9


def main() -> int:
    with open_stage() as stage:
        fill(stage)
        found = {
            "gateway_seconds": plain(_spread(stage, "gateway", partial(start_gateway, stage, stage.upstream_port))),
            "todos_seconds": plain(_spread(stage, "todos", partial(start_todos, stage))),
        }
    keep("startup", {**found, "repeats": REPEATS})
    return 0


def _spread(stage: Stage, name: str, start: Callable[[], Running]) -> Spread | None:
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        running = stage.ready(start())
        taken.append(time.perf_counter() - began)
        running.child.stop()
        tell(f"{name}: ready after {taken[-1]:.2f} s")
    spread = Spread.of(taken)
    print(f"{name}: {spread} s")
    return spread


if __name__ == "__main__":
    sys.exit(main())
