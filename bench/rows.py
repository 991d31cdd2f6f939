"""The list at 10 000 rows and at 10 000 000: `python -m bench.rows`, about ten minutes and 10 GB of disk.

Each user has 10 000 todos, so that at ten a page the thousandth is the last. Pages are asked for one at a time, of
the small and of the large database in turn, through a todo service each.
"""

import itertools
import re
import sys
import time
from collections.abc import Sequence
from statistics import median

import psycopg

from bench.long import keep
from bench.messages import TODOS, signed
from bench.ours import start_todos
from bench.progress import tell
from bench.stage import PROGRAMS, Stage, open_stage, write_todos
from bench.trips import Client

TODOS_OF_A_USER = 10_000
SIZES = {"small": 1, "large": 1_000}
"""Users of each database."""
ASKED_USERS = 20
REPEATS = 1_200
PAGE = b"?limit=10"
WALK = ((99, b"?limit=100"), (9, PAGE))
"""Steps to the end of page 999."""
BATCH_USERS = 50
NEXT = re.compile(rb"[?&]cursor=([^&>]+)")


class Pages:
    """The first and the thousandth page of some users of one database."""

    def __init__(self, stage: Stage, database: str, users: Sequence[str]) -> None:
        self._stage = stage
        self._client = Client(stage.ready(start_todos(stage, database_url=stage.postgres.app_url(database))).port)
        self.targets = {
            "first": [(user, TODOS + PAGE) for user in users],
            "thousandth": [(user, TODOS + PAGE + b"&cursor=" + self._walk(user)) for user in users],
        }

    def milliseconds(self, page: str, turn: int) -> float:
        user, target = self.targets[page][turn % len(self.targets[page])]
        request = signed(self._stage.keyring, user, target=target)
        began = time.perf_counter()
        self._client.ask(request)
        return (time.perf_counter() - began) * 1000

    def _walk(self, user: str) -> bytes:
        cursor = b""
        for steps, page in WALK:
            for _ in range(steps):
                target = TODOS + page + (b"&cursor=" + cursor if cursor else b"")
                link = self._client.ask_for_header(signed(self._stage.keyring, user, target=target), "Link")
                found = NEXT.search(link.encode())
                assert found, link  # noqa: S101 - there are 10 000
                cursor = found[1]
        return cursor


def main() -> int:
    with open_stage() as stage:
        for database, users in SIZES.items():
            _fill(stage, database, users)
        tell("walking to the thousandth page")
        pages = {
            database: Pages(stage, database, [f"user-{n}" for n in range(min(users, ASKED_USERS))])
            for database, users in SIZES.items()
        }
        found = {page: _measured(pages, page) for page in ("first", "thousandth")}
    for page, one in found.items():
        print(f"{page} page: {one['small']:.2f} ms and {one['large']:.2f} ms, {one['ratio']:.2f} times")
    keep("rows", {"rows": {name: users * TODOS_OF_A_USER for name, users in SIZES.items()}, "median_ms": found})
    return 0


def _measured(pages: dict[str, Pages], page: str) -> dict[str, float]:
    taken: dict[str, list[float]] = {database: [] for database in pages}
    for turn in range(REPEATS):
        order = list(pages) if turn % 2 else list(reversed(pages))
        for database in order:
            taken[database].append(pages[database].milliseconds(page, turn))
    warm = {database: median(values[REPEATS // 4 :]) for database, values in taken.items()}
    return {**{name: round(value, 3) for name, value in warm.items()}, "ratio": round(warm["large"] / warm["small"], 3)}


def _fill(stage: Stage, database: str, users: int) -> None:
    stage.postgres.create_database(database)
    urls = {
        "TODOS_MIGRATION_DATABASE_URL": stage.postgres.owner_url(database),
        "TODOS_DATABASE_URL": stage.postgres.app_url(database),
    }
    stage.run("migration", [PROGRAMS / "todos", "migrate"], urls)
    with psycopg.connect(stage.postgres.superuser_url(database), autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        # built again at the end: ten times as fast as row by row
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'todo' AND indexname NOT LIKE '%pkey'"
        ).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        for batch in itertools.batched(range(users), BATCH_USERS, strict=False):
            write_todos(connection, [f"user-{number}" for number in batch], TODOS_OF_A_USER)
            tell(f"{database}: {(batch[-1] + 1) * TODOS_OF_A_USER:,} rows")
        for name, definition in indexes:
            connection.execute(definition.encode())
            tell(f"{database}: {name}")
        connection.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    sys.exit(main())
