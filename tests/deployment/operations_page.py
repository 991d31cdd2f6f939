"""What docs/operations.md tells to type, run as it stands there."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
TEXT = PAGE.read_text()


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return str(found)


def commands(title: str) -> list[str]:
    """The commands of a section, without what they print."""
    blocks = re.findall(r"```console\n(.*?)```", section(title), re.DOTALL)
    return [
        re.sub(r"^ {3}", "", command, flags=re.MULTILINE)
        for block in blocks
        for command in re.findall(r"^ *\$ ((?:.*\\\n)*.*)", block, re.MULTILINE)
    ]


def blocks(title: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", section(title), re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def first_column(title: str) -> list[str]:
    """The code in the first column of a section's first table, a string a row."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return [name for row in rows for name in re.findall("`([^`]+)`", row)]


def typed(command: str, folder: Path, environment: Mapping[str, str] | None = None, before: str = "") -> str:
    """What a command prints, typed into a shell in `folder` that has done `before`."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-euc", f"{before}\n{command}"],
        cwd=folder,
        env={**os.environ, "PATH": programs, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    return ended.stdout
