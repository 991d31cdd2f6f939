"""Pages of a list that another writer inserts into and deletes from: every row that stays is seen exactly once."""

import asyncio
import itertools
import random
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.todos.tests.serving import Client
from todos.domain.fields import PRIORITIES
from todos.store.list_statements import SORT_FIELDS

STAY, PASS = 40, 20
SORTS = [f"{sign}{field}" for field, sign in itertools.product(SORT_FIELDS, ("", "-"))]
DUE = [None, None, "2026-03-01", "2026-03-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "0001-01-01", "9999-12-31"]


def any_fields(choose: random.Random) -> dict[str, Any]:
    """Few values for each sort, so that many keys are equal, some without a due date."""
    return {
        "title": choose.choice(["b", "B", "a", "Ä", "z", "_", "😀", "10", "9"]),
        "priority": choose.choice(PRIORITIES),
        "order": choose.choice([-(2**31), -1, 0, 0, 7, 2**31 - 1]),
        "due_date": choose.choice(DUE),
    }


async def fill(client: Client, choose: random.Random) -> tuple[set[str], list[str]]:
    """Todos of which some stay, and others that may pass."""
    ids = [str(UUID(int=choose.getrandbits(128), version=4)) for _ in range(STAY + PASS)]
    items = [{"id": todo_id, **any_fields(choose)} for todo_id in ids]
    answer = await client.send("POST", "/v1/import", json_body=items)
    assert answer.json() == {"created": STAY + PASS, "updated": 0}
    choose.shuffle(ids)
    return set(ids[:STAY]), ids[STAY:]


async def delete_one(client: Client, passing: list[str], choose: random.Random) -> None:
    gone = passing.pop(choose.randrange(len(passing)))
    assert (await client.send("DELETE", f"/v1/todos/{gone}")).status_code == 204


def next_target(answer: httpx.Response) -> str | None:
    target = answer.links["next"]["url"] if "next" in answer.links else None
    assert target is None or target.startswith("/v1/todos?")
    return target


@pytest.mark.parametrize("sort", SORTS)
async def test_every_row_that_stays_is_seen_once_while_another_writer_inserts_and_deletes(
    alice: Client, sort: str
) -> None:
    choose = random.Random(sort)
    staying, passing = await fill(alice, choose)
    quiet = (await alice.get(f"/v1/todos?sort={sort}&limit=200")).json()
    expected = [todo["id"] for todo in quiet if todo["id"] in staying]

    seen: list[str] = []
    # two a page: one inserted for each page, at the end of the list perhaps, must not keep the end away
    target: str | None = f"/v1/todos?sort={sort}&limit=2"
    while target:
        async with asyncio.TaskGroup() as group:
            page = group.create_task(alice.get(target))
            inserting = group.create_task(alice.create(**any_fields(choose)))
            group.create_task(delete_one(alice, passing, choose))
        passing.append(inserting.result()["id"])
        answer = page.result()
        assert answer.status_code == 200
        seen += [todo["id"] for todo in answer.json()]
        target = next_target(answer)
    assert [todo_id for todo_id in seen if todo_id in staying] == expected
    assert len(seen) == len(set(seen))
