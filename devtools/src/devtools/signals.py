"""Signals as something to wait for, so that they interrupt a program only where it waits."""

import os
import re
import select
import signal
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(Exception):
    """SIGINT, SIGTERM or SIGHUP has come."""


class Signals:
    """While entered, stop signals and the end of a child do nothing but wake `pause`."""

    def __init__(self) -> None:
        self._stop = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*STOP, signal.SIGCHLD):
            signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in (*STOP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def pause(self, seconds: float | None) -> None:
        """Wait until a signal comes, `seconds` at most; None waits for ever.

        Raises:
            StopRequestedError: a stop signal has come, now or before.
        """
        readable = not self._stop and select.select([self._reader], [], [], seconds)[0]
        if readable:
            os.read(self._reader, 4096)
        if self._stop:
            raise StopRequestedError

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in STOP:
            self._stop = True


def parent_is_interrupted() -> bool:
    """Whether the parent is inside its handler of SIGINT (Linux; elsewhere never).

    make, sent SIGINT alone and not with its whole process group, does not pass it to its children and waits for them;
    what shows is that it blocks the signal meanwhile (proc_pid_status(5)). Who blocks SIGTERM too is in no handler:
    programs block all signals while they fork.
    """
    try:
        status = Path(f"/proc/{os.getppid()}/status").read_text()
    except OSError:
        return False
    blocked = re.search(r"^SigBlk:\s*([0-9a-f]+)$", status, re.MULTILINE)
    mask = int(blocked[1], 16) if blocked else 0
    return bool(mask >> (signal.SIGINT - 1) & 1) and not mask >> (signal.SIGTERM - 1) & 1
