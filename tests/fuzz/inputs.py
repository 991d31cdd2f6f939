"""The inputs that are kept: a file for each target, one bytes literal of Python a line."""

import ast
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "inputs"


def kept(target: str) -> list[bytes]:
    return [ast.literal_eval(line) for line in _file(target).read_text().splitlines()]


def keep(target: str, found: Iterable[bytes]) -> None:
    """Add inputs to those of a target."""
    known = kept(target)
    everything = [*known, *(each for each in found if each not in known)]
    _file(target).write_text("".join(f"{each!r}\n" for each in everything))


def _file(target: str) -> Path:
    return FOLDER / f"{target}.txt"
