"""A few faults of `make chaos` at each run of the tests; times are printed and not asserted."""

import pytest

from tests.resilience import catalogue, progress
from tests.resilience.promises import TIMED
from tests.resilience.run import Run, run

pytestmark = [pytest.mark.xdist_group("resilience"), pytest.mark.timeout(300)]
SEED, USERS = 1, 16


def tell(so_far: Run) -> None:
    print(progress.line(len(so_far.played), len(catalogue.SHORT), so_far.played[-1]))


async def test_nothing_fails_for_the_untouched_and_nothing_is_lost_while_processes_die_and_freeze() -> None:
    done = await run(catalogue.short(), catalogue.SHORT_PACE, SEED, tell=tell, users=USERS, warm_up_seconds=1)
    assert [breach for breach in done.breaches if breach.promise not in TIMED] == []
    assert all(played.outcomes for played in done.played)
