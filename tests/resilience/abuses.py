"""The ways in which one account could take the service from the others; each is a scenario of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.resilience.abusive import (
    BODY_BYTES,
    IMPORT_BYTES,
    LARGE_TEXT,
    Account,
    at_once,
    fill,
    post_import,
    todos,
    unknown_members,
)

MOST_KEPT = 10_000
"""Deleted todos of one user that keep their content."""

type Work = Callable[[Account], Awaitable[None]]


@dataclass(frozen=True)
class Abuse:
    """`prepare` comes before the time that counts; `work` runs until it is cancelled; `check` looks at what is left."""

    does: str
    work: Work
    prepare: Work | None = None
    check: Callable[[Account], Awaitable[str]] | None = None
    """What is wrong afterwards, in words; empty where nothing is."""


async def stalled_uploads(account: Account) -> None:
    head = f"POST /v1/import HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {IMPORT_BYTES}"
    body = [b" " * (IMPORT_BYTES - 1)]
    await at_once(account.share(29), lambda: account.send_raw(head, body))


async def prepare_search(account: Account) -> None:
    await fill(account, 10_000 if account.many == 1 else 500, 500, description=LARGE_TEXT)


async def quadratic_search(account: Account) -> None:
    await at_once(account.share(20), lambda: account.send("GET", "/v1/todos", params={"q": "a" * 99 + "b"}))


async def unknown_members_in_a_todo(account: Account) -> None:
    body = unknown_members(110_000)
    headers = {"Content-Type": "application/json"}
    await at_once(account.share(8), lambda: account.send("POST", "/v1/todos", content=body, headers=headers))


async def unknown_members_in_an_import(account: Account) -> None:
    body = b"[" + unknown_members(520_000) + b"]"
    await at_once(account.share(5), lambda: post_import(account, body))


async def one_byte_chunks(account: Account) -> None:
    head = "POST /v1/todos HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
    body = [b"1\r\n \r\n" * 1000] * (BODY_BYTES // 1000 // 2) + [b"0\r\n\r\n"]
    await at_once(account.share(8), lambda: account.send_raw(head, body))


async def prepare_export(account: Account) -> None:
    await fill(account, 9_000 if account.many == 1 else 1_000, 1_000, description="b" * 3_000)


async def slow_export_readers(account: Account) -> None:
    head = "GET /v1/export HTTP/1.1\r\nAccept: application/json"
    await at_once(account.share(512) if account.many == 1 else 26, lambda: account.send_raw(head, []))


async def parallel_imports(account: Account) -> None:
    body = todos(9_500)
    await at_once(account.share(20), lambda: post_import(account, body))


async def impossible_recurrence(account: Account) -> None:
    fields = {"title": "Never", "due_date": "2027-01-04", "recurrence": "FREQ=MONTHLY;BYDAY=53MO"}

    async def complete() -> None:
        created = await account.send("POST", "/v1/todos", json=fields)
        if created is not None and created.is_success:
            await account.send("PATCH", f"/v1/todos/{created.json()['id']}", json={"completed": True})

    await at_once(account.share(4), complete)


async def import_and_delete(account: Account) -> None:
    async def churn() -> None:
        await post_import(account, todos(9_500))
        await account.send("DELETE", "/v1/todos")

    await at_once(1, churn)


async def too_many_kept(account: Account) -> str:
    """The newest deleted todos keep their content, the others must not."""
    await account.send("DELETE", "/v1/todos")
    exported = await account.send("GET", "/v1/export", params={"deleted": "true"})
    kept = len(exported.json()) if exported is not None and exported.is_success else None
    return "" if kept is not None and kept <= MOST_KEPT else f"{kept} deleted todos of one user keep their content"


async def complete_all(account: Account) -> None:
    async def churn() -> None:
        await post_import(account, todos(9_500, due_date="2027-01-04", recurrence="FREQ=DAILY"))
        await account.send("PATCH", "/v1/todos", json={"completed": True})
        await account.send("DELETE", "/v1/todos")

    await at_once(1, churn)


ABUSES = {
    "uploads-stall": Abuse("sends 29 uploads that stall before their last byte", stalled_uploads),
    "search-quadratic": Abuse("searches 10 000 large todos for what nearly fits", quadratic_search, prepare_search),
    "members-unknown": Abuse("posts todos of 110 000 unknown members", unknown_members_in_a_todo),
    "import-unknown": Abuse("imports objects of 520 000 unknown members", unknown_members_in_an_import),
    "chunks-of-a-byte": Abuse("sends bodies in chunks of one byte", one_byte_chunks),
    "export-slow-readers": Abuse("reads 512 exports at 2 KiB/s", slow_export_readers, prepare_export),
    "imports-parallel": Abuse("sends 20 imports of 9 500 todos at once", parallel_imports),
    "recurrence-impossible": Abuse("completes todos that recur on what never comes", impossible_recurrence),
    "import-delete-churn": Abuse(
        "imports 9 500 todos and deletes them all, again and again", import_and_delete, check=too_many_kept
    ),
    "complete-all": Abuse("completes 9 500 recurring todos at once, again and again", complete_all),
}
"""By name; each is done by one account, and by twenty."""


async def abuse(kind: Abuse, accounts: list[Account], seconds: float) -> list[str]:
    """Work as every account for so long; what is wrong afterwards."""
    working = [asyncio.ensure_future(kind.work(account)) for account in accounts]
    done, _ = await asyncio.wait(working, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    for task in done:
        task.result()
    if kind.check is None:
        return []
    return [wrong for wrong in await asyncio.gather(*map(kind.check, accounts)) if wrong]


async def prepare(kind: Abuse, accounts: list[Account]) -> None:
    """What is not counted as abuse yet."""
    if kind.prepare:
        await asyncio.gather(*map(kind.prepare, accounts))
