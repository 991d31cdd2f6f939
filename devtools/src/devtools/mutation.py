"""Mutation testing of the modules that decide who may do what: `make mutation`, `ONLY="token identity"`.

mutmut changes these modules in one place at a time and runs the narrow tests that reach the place: a change that no
test notices is a survivor, which `mutmut show NAME` prints in the folder of its group under .local/mutation, where a
copy of the tracked files is changed. docs/security.md keeps the scores that were measured.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORK = ROOT / ".local" / "mutation"
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
SOURCES = {
    "identity": "libs/identity/src/identity",
    "runtime": "libs/runtime/src/runtime",
    "strict_http": "libs/strict_http/src/strict_http",
    "gateway": "services/gateway/src/gateway",
    "todos": "services/todos/src/todos",
}
RESULT = re.compile(r"^ +(?P<mutant>\S+): (?P<status>[\w ]+)$", re.MULTILINE)
CAUGHT = frozenset({"killed", "timeout", "segfault", "suspicious"})


@dataclass(frozen=True)
class Group:
    """Modules of one package, by glob, with the tests that hold them."""

    package: str
    modules: Sequence[str]
    tests: Sequence[str]


GROUPS = {
    "identity": Group("identity", ["*"], ["libs/identity/tests"]),
    "token": Group(
        "gateway",
        ["token/*"],
        [
            f"services/gateway/tests/test_{name}.py"
            for name in ("token_mutations", "user_ids", "authentication", "issuers")
        ],
    ),
    "keys": Group("gateway", ["keys/jwks.py"], [f"services/gateway/tests/test_{name}.py" for name in ("jwks", "keys")]),
    "requests": Group("gateway", ["request_checks.py"], ["services/gateway/tests/test_request_checks.py"]),
    "limits": Group(
        "gateway",
        ["limits/gcra.py", "limits/limiter.py", "limits/local_limits.py", "limits/policy.py", "limits/revocation.py"],
        [f"services/gateway/tests/test_{name}.py" for name in ("limits", "redis_limits", "revocation")],
    ),
    "shares": Group("runtime", ["shares.py"], ["libs/runtime/tests/test_shares.py"]),
    "framing": Group(
        "strict_http",
        ["request_head.py", "framing.py"],
        [f"libs/strict_http/tests/test_{name}.py" for name in ("cuts", "chunks", "rejections", "tolerances")],
    ),
    "statements": Group("todos", ["database/ownership.py"], ["services/todos/tests/test_ownership.py"]),
    "session": Group(
        "todos",
        ["database/user_session.py"],
        [f"services/todos/tests/test_{name}.py" for name in ("database", "database_failures", "callers")],
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devtools.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP")
    for name in parser.parse_args().only:
        folder = WORK / name
        prepare(GROUPS[name], folder)
        subprocess.run([MUTMUT, "run"], cwd=folder, check=True)
        report(folder)
    return 0


def prepare(group: Group, folder: Path) -> None:
    """Copy the tracked files, the package as `src`, and say what to change."""
    shutil.rmtree(folder, ignore_errors=True)
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for file in listed.stdout.rstrip("\0").split("\0"):
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target)
    shutil.copytree(ROOT / SOURCES[group.package], folder / "src" / group.package)
    copied = sorted({path.name for path in folder.iterdir()} - {"src"})
    settings = {
        "source_paths": ["src"],
        "only_mutate": [f"src/{group.package}/{module}" for module in group.modules],
        "also_copy": copied,
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": list(group.tests),
    }
    with (folder / "pyproject.toml").open("a") as project:
        project.write("\n[tool.mutmut]\n" + "".join(f"{name} = {value!r}\n" for name, value in settings.items()))


def report(folder: Path) -> None:
    """Say how many changes of each module were noticed, and show the others."""
    command = [MUTMUT, "results", "--all", "true"]
    results = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    caught: Counter[str] = Counter()
    missed: dict[str, list[str]] = {}
    for mutant, status in RESULT.findall(results.stdout):
        module = mutant.rpartition(".")[0]
        caught[module] += status in CAUGHT
        missed.setdefault(module, [])
        if status not in CAUGHT:
            missed[module].append(f"{mutant} ({status})")
    for module, survivors in missed.items():
        print(f"{module}: {caught[module]} of {caught[module] + len(survivors)}")
        for survivor in survivors:
            print(f"  {survivor}")


if __name__ == "__main__":
    sys.exit(main())
