"""The installed console script, as an operator runs it."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = str(Path(sys.executable).parent / "todos")


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TODOS_")}
    return {**kept, **{f"TODOS_{name.upper()}": value for name, value in settings.items()}}


def todos(command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, command], env=environment(**settings), capture_output=True, text=True, timeout=30, check=False
    )
