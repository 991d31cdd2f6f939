"""The processes of the pair, each of which can be started, stopped, killed, frozen and thawed."""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from devtools.parts import answers
from devtools.processes import LOOPBACK, Child, free_port, wait_until

READY_SECONDS = 60
PROGRAMS = Path(sys.executable).parent


class Part(Protocol):
    """A process; every method blocks, `start` until it answers."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    @property
    def child(self) -> Child: ...


class Program:
    """A program that is up once it answers `page`; each start writes a log of its own."""

    def __init__(
        self, name: str, command: Sequence[str | Path], settings: Mapping[str, str], page: str, logs: Path
    ) -> None:
        self.name = name
        self._command = command
        self._settings = dict(settings)
        self._answers = answers(page)
        self._logs = logs
        self._starts = 0
        self._child: Child | None = None
        self.kills: list[float] = []
        """When it was killed, by `time.monotonic`."""

    @property
    def child(self) -> Child:
        assert self._child, f"{self.name} has not been started"
        return self._child

    @property
    def logs(self) -> list[Path]:
        """What it has written, over all its starts."""
        return [self._log(number) for number in range(self._starts)]

    def start(self) -> None:
        """Start, or start again on the same ports, and return when it answers.

        Raises:
            StartError: it did not.
        """
        environment = {**os.environ, **self._settings}
        self._child = child = Child(self.name, self._command, self._log(self._starts), environment=environment)
        self._starts += 1
        wait_until(lambda: self._answers(child), child, READY_SECONDS)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._child:
            self._child.send(signal.SIGCONT)
            self._child.stop(READY_SECONDS)

    def kill(self) -> None:
        self.kills.append(time.monotonic())
        self.child.kill()

    def freeze(self) -> None:
        self.child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.send(signal.SIGCONT)

    def _log(self, number: int) -> Path:
        return self._logs / f"{self.name}.{number}.log"


class Replica(Program):
    """One of the replicas of `gateway` or `todos`; it is up when it is alive, and ready later.

    `settings` are named without the service's prefix; `command` is the program that takes `serve`.
    """

    def __init__(
        self, service: str, number: int, settings: Mapping[str, str], logs: Path, command: Sequence[str | Path]
    ) -> None:
        self.service = service
        self.port, self.admin_port = free_port(), free_port()
        listen = {"HOST": LOOPBACK, "PORT": str(self.port), "ADMIN_PORT": str(self.admin_port), "DRAIN_SECONDS": "1"}
        super().__init__(
            f"{service}-{number}",
            [*command, "serve"],
            {f"{service.upper()}_{name}": value for name, value in {**listen, **settings}.items()},
            f"http://{LOOPBACK}:{self.admin_port}/healthz/live",
            logs,
        )


class Provider(Program):
    """The identity provider, whose keys outlive it."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        command: list[str | Path] = [sys.executable, "-m", "devtools.idp"]
        command += ["--port", str(self.port), "--keys", folder / "provider-keys.json"]
        super().__init__("provider", command, {}, f"{self.url}/jwks.json", logs)
