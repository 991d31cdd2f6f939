"""One abusive account, and twenty of them, beside users who must not notice."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from devtools.processes import LOOPBACK
from tests.resilience.abuses import ABUSES
from tests.resilience.promises import Promise
from tests.resilience.scenario import Scenario, Stage, nobody

SECONDS = 8
MANY = 20
PREPARE_SECONDS = 180
"""Beside the users, whom that must not trouble either."""
OURS = frozenset({"500", "502"})
"""Statuses that say that the service broke, and not that the account was refused."""


@contextlib.asynccontextmanager
async def abusing(stage: Stage, name: str, accounts: int) -> AsyncIterator[None]:
    """The accounts, spread over both gateways, in a process of their own."""
    ports = [gateway.port for gateway in stage.cluster.gateways]
    names = [f"abuser-{stage.dice.getrandbits(32)}" for _ in range(accounts)]
    given = [
        (f"http://{LOOPBACK}:{ports[number % len(ports)]}", await stage.cluster.token(user))
        for number, user in enumerate(names)
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.resilience.abuser", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps({"abuse": name, "seconds": SECONDS, "accounts": given}).encode() + b"\n")
        async with asyncio.timeout(PREPARE_SECONDS):
            assert await process.stdout.readline() == b"ready\n", f"{name} could not be prepared"
        process.stdin.write(b"\n")
        yield
        _report(stage, json.loads(await process.stdout.readline()))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _report(stage: Stage, found: dict[str, Any]) -> None:
    answers: dict[str, int] = found["answers"]
    told = ", ".join(f"{count} {status if status != '0' else 'broken'}" for status, count in sorted(answers.items()))
    unanswered = found["sent"] - sum(answers.values())
    stage.notes.append(f"answers to the abuse: {told or 'none'}; {unanswered} still to come at the end")
    for status in OURS & answers.keys():
        stage.breaches.add(Promise.CONTRACT, f"the accounts were answered {status} {answers[status]} times")
    for wrong in found["wrong"]:
        stage.breaches.add(Promise.BOUNDED, wrong)


def scenarios() -> list[Scenario]:
    found = []
    for name, abuse in ABUSES.items():
        found.append(
            Scenario(name, f"one account {abuse.does}", nobody, partial(abusing, name=name, accounts=1), SECONDS)
        )
        many = f"twenty accounts do the same as one that {abuse.does}"
        found.append(Scenario(f"{name}-20", many, nobody, partial(abusing, name=name, accounts=MANY), SECONDS))
    return found
