"""Fuzz every reader of what clients send, led by coverage: `make fuzz`, `SECONDS=600`, `ONLY="rule token"`.

Each target starts from its kept inputs and goes on where the last run ended. What breaks a target is added to its
file in tests/fuzz/inputs, where `make test` tries it again: mend the reader, and keep the line. With --keep, the
smallest inputs that reach everything are added too. Exits 0 where nothing broke.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.inputs import keep, kept
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
MODULE = "tests.fuzz.targets"
WORK = ROOT / ".local" / "fuzz"
LONGEST_BYTES = 2048
SLOWEST_SECONDS = 5
RUNS = re.compile(r"stat::number_of_executed_units: ([0-9]+)")
REACHED = re.compile(r"cov: ([0-9]+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target, 60 by default")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--keep", action="store_true", help="keep the smallest inputs that reach everything")
    arguments = parser.parse_args()
    broken = 0
    for number, target in enumerate(arguments.only, 1):
        print(f"[{number:2}/{len(arguments.only)}] {target:<12}", end=" ", flush=True)
        found = fuzz(MODULE, target, arguments.seconds)
        broken += found
        if arguments.keep and not found:
            keep(target, smallest(target))
    return 1 if broken else 0


def fuzz(module: str, target: str, seconds: int) -> bool:
    """Fuzz a target of a module and say what came of it; whether an input broke it."""
    known, found = _folders(target)
    for data in kept(target):
        (known / hashlib.sha256(data).hexdigest()).write_bytes(data)
    run = _engine(
        module, target, str(known), f"-max_total_time={seconds}",
        f"-max_len={LONGEST_BYTES}", f"-timeout={SLOWEST_SECONDS}",
        f"-artifact_prefix={found}/", "-print_final_stats=1",
    )  # fmt: skip
    runs, reached = RUNS.search(run.stderr), REACHED.findall(run.stderr)
    print(f"{runs[1] if runs else '?':>9} inputs, {reached[-1] if reached else '?'} edges", end="", flush=True)
    broke = [file.read_bytes() for file in found.iterdir()]
    keep(target, broke)
    if run.returncode == 0:
        print(", nothing broke")
        return False
    print(f", BROKEN by {broke}\n{run.stdout or run.stderr}")
    return True


def smallest(target: str) -> list[bytes]:
    """Of all inputs of a target so far, the smallest ones that reach everything that any of them reaches."""
    known, _ = _folders(target)
    chosen = WORK / f"{target}-chosen"
    shutil.rmtree(chosen, ignore_errors=True)
    chosen.mkdir()
    _engine(MODULE, target, "-merge=1", "-max_len=200", str(chosen), str(known))
    return sorted((file.read_bytes() for file in chosen.iterdir()), key=lambda data: (len(data), data))


def _folders(target: str) -> tuple[Path, Path]:
    """The inputs that reach something new; what broke the target, empty."""
    known, found = WORK / target, WORK / f"{target}-found"
    shutil.rmtree(found, ignore_errors=True)
    for folder in (known, found):
        folder.mkdir(parents=True, exist_ok=True)
    return known, found


def _engine(module: str, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.engine", module, target, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)


if __name__ == "__main__":
    sys.exit(main())
