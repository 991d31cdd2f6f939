"""Abusive accounts, in a process of their own: `python -m tests.resilience.abuser` (started by `make chaos`).

Reads one line of JSON: the abuse by name, seconds, and for each account a URL and a token. Says `ready` when what goes
before is done, begins at the next line it reads, and ends with one line of JSON: how many requests were begun, the
answers by status, and what is wrong.
"""

import asyncio
import json
import sys
from collections import Counter

import uvloop

from tests.resilience.abuses import ABUSES, abuse, prepare
from tests.resilience.abusive import Account


async def main() -> None:
    order = json.loads(await asyncio.to_thread(sys.stdin.readline))
    kind = ABUSES[order["abuse"]]
    accounts = [Account(url, token, len(order["accounts"])) for url, token in order["accounts"]]
    await prepare(kind, accounts)
    for account in accounts:
        account.answers.clear()
        account.sent = 0
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    wrong = await abuse(kind, accounts, order["seconds"])
    answers = sum((account.answers for account in accounts), Counter[int]())
    sent = sum(account.sent for account in accounts)
    print(json.dumps({"sent": sent, "answers": answers, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
