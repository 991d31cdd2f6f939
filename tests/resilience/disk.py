"""A disk of our own for PostgreSQL, which can be full: a tmpfs, mounted in a namespace that needs no root (Linux)."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ENTERED = "RESILIENCE_NAMESPACE"
_UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]
SIZE_BYTES = 6 << 30
"""At most; a tmpfs holds as much memory as there are files on it."""
LEFT_BYTES = 64 << 10


@dataclass(frozen=True)
class Disk:
    """What is mounted at `folder`."""

    folder: Path

    def fill(self) -> None:
        """Leave room for a few pages."""
        _mount("-o", f"remount,size={shutil.disk_usage(self.folder).used + LEFT_BYTES}", str(self.folder))

    def free(self) -> None:
        """Make it as large as it was."""
        _mount("-o", f"remount,size={SIZE_BYTES}", str(self.folder))


def enter_namespace() -> None:
    """Start this program again where it may mount; return where it already may, and where the system forbids it."""
    if available():
        return
    allowed = (
        shutil.which("unshare") and not subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode
    )
    if allowed:
        os.environ[_ENTERED] = "1"
        os.execvp("unshare", [*_UNSHARE, sys.executable, "-m", "tests.resilience", *sys.argv[1:]])


def available() -> bool:
    return _ENTERED in os.environ


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Disk | None]:
    """A disk at `folder`; None where this process may not mount."""
    if not available():
        yield None
        return
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=711", "resilience", str(folder))
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
