"""Load by wrk, and what it saw."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devtools.processes import LOOPBACK, Child

SCRIPT = Path(__file__).with_name("drive.lua")
_GRACE_SECONDS = 30


class LoadError(Exception):
    """What was measured is not what was meant to be; the message says what came instead."""


@dataclass(frozen=True)
class Load:
    """What wrk counted: answers of every status, those above 399 among them, and broken connections."""

    requests: int
    micros: int
    p50_us: int
    p99_us: int
    refused: int
    broken: int

    @classmethod
    def parse(cls, output: str) -> Self:
        """Read the last line that drive.lua prints.

        Raises:
            LoadError: there is none.
        """
        lines = [line for line in output.splitlines() if line.startswith("{")]
        if not lines:
            raise LoadError(f"wrk told nothing:\n{output}")
        return cls(**json.loads(lines[-1]))

    @property
    def per_second(self) -> float:
        return self.requests * 1e6 / self.micros

    def check(self, name: str, server: Child) -> None:
        """Raises LoadError where a request was not answered with success, or none was answered at all."""
        if self.refused or self.broken or not self.requests:
            raise LoadError(
                f"{name}: of {self.requests} requests {self.refused} were refused, {self.broken} connections broke\n"
                f"{server.last_lines(3)}"
            )


def wrk() -> str | None:
    """Where wrk is, if anywhere."""
    return shutil.which("wrk")


def drive(port: int, requests: Sequence[bytes], connections: int, seconds: int) -> Load:
    """Send `requests` in turn over `connections` for `seconds`, each as soon as the one before is answered."""
    with tempfile.NamedTemporaryFile(prefix="bench-", suffix=".requests") as file:
        for request in requests:
            file.write(b"%d\n%s" % (len(request), request))
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=10s", f"--script={SCRIPT}"]
        finished = subprocess.run(
            [*command, f"http://{LOOPBACK}:{port}", "--", file.name],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _GRACE_SECONDS,
        )
    if finished.returncode != 0:
        raise LoadError(f"wrk failed:\n{finished.stdout}{finished.stderr}")
    return Load.parse(finished.stdout)
