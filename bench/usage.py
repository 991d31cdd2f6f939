"""What a process and its children have used, as Linux tells it (proc(5))."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PARENT, _USER, _SYSTEM, _RESIDENT = 1, 11, 12, 21  # positions behind the name, which may hold anything


def cpu_seconds(pid: int) -> float:
    """User and system time of `pid` and of the processes below it, all threads included."""
    stats = _stats()
    return sum(int(stats[one][_USER]) + int(stats[one][_SYSTEM]) for one in _family(stats, pid)) / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Resident memory of `pid` and of the processes below it; what they share counts for each."""
    stats = _stats()
    return sum(int(stats[one][_RESIDENT]) for one in _family(stats, pid)) * _PAGE_BYTES


def _stats() -> dict[int, list[str]]:
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            found[int(folder.name)] = line.rpartition(")")[2].split()
    return found


def _family(stats: dict[int, list[str]], pid: int) -> Iterator[int]:
    children = defaultdict(list)
    for one, fields in stats.items():
        children[int(fields[_PARENT])].append(one)
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += children[one]
