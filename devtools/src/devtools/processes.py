"""Child processes that end with their parent, and the ports they listen on."""

import ctypes
import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools.files import private_opener

LOOPBACK = "127.0.0.1"
PORTS = range(10_000, 32_000)
"""Below the ports from which systems make outgoing connections, so that a port stays free over a restart."""

_STEP_SECONDS = 0.02
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

type Pause = Callable[[float], None]
"""Waits for so many seconds, or less where something happened; may raise to end the wait."""


class StartError(Exception):
    """A program did not start; the message says why, for a person, with its last words."""


@dataclass(frozen=True)
class Account:
    """The user and group a child runs as."""

    uid: int
    gid: int


class Child:
    """A program of this machine in a session of its own, so that Ctrl-C does not reach it.

    It is killed when this process ends in any way (Linux only; there the thread that starts it must be one
    that lives on, such as the main thread). Its output goes to the file `log`, which is truncated first.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start it.

        Raises:
            StartError: the program is not there or may not run.
        """
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        with open(log, "wb", opener=private_opener) as output:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                    preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - two calls that take no lock
                )
            except OSError as error:
                raise StartError(f"{name} cannot run {command[0]}: {error.strerror}") from None
        self._feed(stdin)

    def _feed(self, stdin: bytes) -> None:
        assert self._process.stdin  # noqa: S101 - opened above
        try:
            self._process.stdin.write(stdin)
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it ended before it read; its exit code says why

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, `-N` after signal N."""
        return self._process.poll()

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        code = self.exit_code
        if code is None:
            return "runs"
        return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    def last_lines(self, count: int = 15) -> str:
        """The end of its log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines)

    def failure(self) -> StartError:
        """The error that says how it ended and what it said."""
        return StartError(f"{self.name} did not start ({self.outcome}):\n{self.last_lines()}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where it has ended."""
        self._process.send_signal(number)

    def stop(self, grace_seconds: float = 2) -> None:
        """Terminate it, kill it if it has not ended after `grace_seconds`, and wait until it has."""
        stop_all([self], grace_seconds)

    def ask_to_stop(self) -> None:
        """Send the signal on which it ends in order, also where it is stopped by another."""
        self.send(self._stop_signal)
        self.send(signal.SIGCONT)

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end, `seconds` at most."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kill it at once, with every process of its session, as a crash would."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.send(signal.SIGKILL)
        self._process.wait()


def wait_until(ready: Callable[[], bool], child: Child, seconds: float, pause: Pause = time.sleep) -> None:
    """Poll `ready` in short steps until it returns True or `child` ends.

    Raises:
        StartError: the child ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        if not child.alive:
            raise child.failure()
        if ready() and child.alive:
            return
        if time.monotonic() > deadline:
            raise StartError(f"{child.name} was not ready after {seconds:g} s:\n{child.last_lines()}")
        pause(_STEP_SECONDS)


def run_to_end(child: Child, seconds: float, pause: Pause = time.sleep) -> None:
    """Wait until `child` has ended well; stop it where the wait ends otherwise.

    Raises:
        StartError: it ended with another exit code than 0, or the time is over.
    """
    deadline = time.monotonic() + seconds
    try:
        while child.alive:
            if time.monotonic() > deadline:
                raise StartError(f"{child.name} had not ended after {seconds:g} s:\n{child.last_lines()}")
            pause(_STEP_SECONDS)
    finally:
        child.stop()
    if child.exit_code != 0:
        raise StartError(f"{child.name} failed ({child.outcome}):\n{child.last_lines()}")


def stop_all(children: Collection[Child], grace_seconds: float) -> None:
    """Stop `children` at the same time, and kill those that have not ended after `grace_seconds`."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + grace_seconds
    for child in children:
        if not child.ended_within(max(0, deadline - time.monotonic())):
            child.kill()


def free_port() -> int:
    """A TCP port of the loopback address on which nothing listens now."""
    while True:
        port = secrets.choice(PORTS)
        if port_fault(port) is None:
            return port


def port_fault(port: int) -> str | None:
    """Why one cannot listen on `port` of the loopback address, or None where one can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            return "is taken" if taken else f"cannot be opened ({os.strerror(error.errno or 0)})"
    # a listener on every interface does not stop the bind on macOS
    with socket.socket() as probe:
        probe.settimeout(1)
        return "is taken" if probe.connect_ex((LOOPBACK, port)) == 0 else None


def end_with_parent(number: signal.Signals) -> None:
    """Have `number` sent to this process when the one that started it ends (Linux; elsewhere nothing)."""
    if _libc:
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(number))


def _die_with(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        end_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
