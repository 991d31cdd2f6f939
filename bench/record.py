"""The results as files: what a program reads, and what a README shows."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.figures import LATENCY_RATIOS, RATIOS, figures, plain, ratios
from bench.plot import Panel, plot
from bench.rounds import OURS, Pace, Round
from bench.stage import HERE
from bench.suites import Skipped
from bench.trips import Trips

RESULTS = HERE / "results"
PANELS = {
    "gateway": ("The gateway hop", "CPU \u00b5s a request", "cpu_us_per_request"),
    "todos_list": ("List of 20 todos", "CPU \u00b5s a request", "cpu_us_per_request"),
    "todos_create": ("Creation of a todo", "CPU \u00b5s a request", "cpu_us_per_request"),
    "pair": ("Gateway and todos together", "requests a second", "requests_per_second"),
}
"""What of each suite is drawn."""
PACKAGES = ("uvicorn", "uvloop", "httptools", "fastapi", "psycopg", "redis", "pyjwt", "httpx", "sqlmodel", "asyncpg")
PROGRAMS = {"wrk": ["wrk", "-v"], "haproxy": ["haproxy", "-v"], "node": ["node", "--version"], "nginx": ["nginx", "-v"]}


@dataclass
class Played:
    """All that a run has found out."""

    rounds: dict[str, list[Round]] = field(default_factory=dict)
    trips: Trips = field(default_factory=Trips)
    judged_by_redis: dict[str, float] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=dict)
    load_before: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))
    """Processes that wanted a core in the minute before (getloadavg(3)): on a machine of our own, about none."""


def write_results(played: Played, pace: Pace, folder: Path = RESULTS) -> None:
    """Write latest.json and latest.svg."""
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(document(played, pace), indent=2) + "\n")
    (folder / "latest.svg").write_text(plot(panels(played.rounds)))


def document(played: Played, pace: Pace) -> dict[str, object]:
    """What latest.json holds: `ratios` are medians, ours over theirs, null where the peer was not there."""
    spreads = ratios(played.rounds, RATIOS)
    ours = played.trips.database.get(OURS, {})
    trips = {
        "database_round_trips_read": ours["GET"].turns if "GET" in ours else None,
        "database_round_trips_write": ours["POST"].turns if "POST" in ours else None,
    }
    medians = {name: spread["median"] if (spread := plain(found)) else None for name, found in spreads.items()}
    return {
        "ratios": {**medians, **trips},
        "ratio_spreads": {name: plain(found) for name, found in spreads.items()},
        "latency_ratios": {name: plain(found) for name, found in ratios(played.rounds, LATENCY_RATIOS).items()},
        "figures": {
            suite: {name: {title: plain(one) for title, one in figures(rounds, name).items()} for name in rounds[0]}
            for suite, rounds in played.rounds.items()
        },
        "round_trips": asdict(played.trips),
        "judged_by_redis": {suite: round(share, 4) for suite, share in played.judged_by_redis.items()},
        "skipped": played.skipped,
        "pace": asdict(pace),
        "load_before": played.load_before,
        "machine": machine(),
    }


def panels(played: Mapping[str, list[Round]]) -> list[Panel]:
    """What is drawn of the suites that were played."""
    found = []
    for suite, (title, unit, figure) in PANELS.items():
        if rounds := played.get(suite):
            bars = [(name, figures(rounds, name)[figure].median) for name in rounds[0]]
            found.append(Panel(title, unit, sorted(bars, key=lambda bar: bar[0] != OURS)))
    return found


def machine() -> dict[str, object]:
    """What a figure depends on, and nothing that tells whose machine it was."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _first_line(["git", "-C", str(HERE), "rev-parse", "HEAD"]),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "programs": {name: _first_line(command) for name, command in PROGRAMS.items()},
    }


def _processor() -> str | None:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else None


def _first_line(command: list[str]) -> str | None:
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"}
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=10)
    except OSError:
        return None
    lines = (finished.stdout or finished.stderr).splitlines()
    return lines[0] if lines else None
