"""Memory over a million requests: `python -m bench.soak`, about fifteen minutes.

The gateway alone sees as many different tokens, each of another user, before an upstream that answers at once; then
todos alone as many different users. Tokens are EdDSA: the quickest to sign.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.load import drive
from bench.long import keep
from bench.messages import message, signed, with_token
from bench.ours import judged_by_redis, start_gateway, start_todos
from bench.progress import tell
from bench.stage import AUDIENCE, Running, Stage, fill, open_stage
from bench.usage import resident_bytes
from devtools.processes import LOOPBACK, free_port
from devtools.testing.tokens import Signer

ISSUER = "https://soak.example"
BEGIN, END = 100_000, 1_000_000
SECONDS = 15
"""Of one run of load: a signature for todos lives twice as long."""
CONNECTIONS = 16
FIRST_GUESS = 2_000
"""Requests a second, until one run has told."""
MIB = 1 << 20

type NewRequests = Callable[[int, int], Sequence[bytes]]
"""So many, numbered from so on."""


def main() -> int:
    soaks = {"gateway": _soak_gateway, "todos": _soak_todos}
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("services", nargs="*", metavar="gateway|todos", help="one of them alone; both without")
    services: list[str] = parser.parse_args().services
    if unknown := set(services) - soaks.keys():
        parser.error(f"not {', '.join(sorted(unknown))}")
    with open_stage() as stage:
        for name in services or soaks:
            keep(f"soak_{name}", soaks[name](stage))
    return 0


def _soak_gateway(stage: Stage) -> dict[str, object]:
    signer = Signer(kid="soak", algorithm="EdDSA", private=Ed25519PrivateKey.generate())
    gateway = stage.ready(_gateway(stage, signer))
    found = _soaked("gateway", gateway, lambda first, count: _with_tokens(signer, first, count))
    found["judged_by_redis"] = round(judged_by_redis(gateway), 4)
    gateway.child.stop()
    return found


def _soak_todos(stage: Stage) -> dict[str, object]:
    fill(stage)
    todos = stage.ready(start_todos(stage))
    return _soaked("todos", todos, lambda first, count: _of_users(stage, first, count))


def _soaked(name: str, running: Running, new_requests: NewRequests) -> dict[str, object]:
    """Resident MiB by the number of requests, and how the last compares with that at 100 000."""
    sent, rate, made = 0, FIRST_GUESS, 0
    memory: dict[int, float] = {}
    while sent < END:
        enough = int(rate * SECONDS * 1.5)
        load = drive(running.port, new_requests(made, enough), CONNECTIONS, SECONDS)
        load.check(name, running.child)
        # wrk begins again where it runs out: what it then repeats does not count
        made, sent, rate = made + enough, sent + min(load.requests, enough), max(int(load.per_second), 1)
        memory[sent] = resident_bytes(running.child.pid) / MIB
        tell(f"{name}: {sent:,} requests, {memory[sent]:.1f} MiB")
    settled = {count: mib for count, mib in memory.items() if count >= BEGIN}
    first = next(iter(settled.values()))
    growth = memory[sent] / first - 1
    print(f"{name}: {first:.1f} MiB after the first {BEGIN:,}, {memory[sent]:.1f} at the end, {growth:+.1%}")
    return {"resident_mib": {f"{count}": round(mib, 1) for count, mib in memory.items()}, "growth": round(growth, 4)}


def _gateway(stage: Stage, signer: Signer) -> Running:
    port = free_port()
    key_set = json.dumps({"keys": [signer.jwk()]})
    command = [sys.executable, "-m", "bench.upstream", str(port), key_set]
    stage.ready(stage.start("keys", command, port, {}, message("GET", b"/", [])))
    return start_gateway(
        stage,
        stage.upstream_port,
        issuer=ISSUER,
        jwks_url=f"http://{LOOPBACK}:{port}/jwks.json",
        algorithms="EdDSA",
    )


def _with_tokens(signer: Signer, first: int, count: int) -> list[bytes]:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 3600}
    return [
        with_token(signer.token({**claims, "sub": f"user-{number}", "jti": str(uuid4())}))
        for number in range(first, first + count)
    ]


def _of_users(stage: Stage, first: int, count: int) -> list[bytes]:
    return [signed(stage.keyring, f"soaked-{number}") for number in range(first, first + count)]


if __name__ == "__main__":
    sys.exit(main())
