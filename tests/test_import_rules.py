"""The rules of `lint-imports` hold the packages apart: an import against them, planted in a copy, is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = (
    "services/gateway/src", "services/todos/src", "libs/identity/src", "libs/runtime/src", "libs/strict_http/src",
    "devtools/src",
)  # fmt: skip
GATEWAY = "services/gateway/src/gateway/"
TODOS = "services/todos/src/todos/"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for source in SOURCES:
        shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint(folder: Path) -> tuple[int, str]:
    """The exit code of `lint-imports` on the packages in `folder`, and what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder / source) for source in SOURCES)}
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, " ".join(done.stdout.split())


def test_the_packages_keep_the_rules(copy: Path) -> None:
    assert lint(copy)[0] == 0


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        (GATEWAY + "app.py", "import todos.settings", "The services never import each other"),
        (GATEWAY + "app.py", "import devtools.files", "The services never import each other"),
        (TODOS + "app.py", "import gateway.clock", "The services never import each other"),
        ("libs/runtime/src/runtime/logs.py", "import gateway.clock", "The libraries import no service and no tool"),
        ("libs/strict_http/src/strict_http/flow.py", "import todos.settings", "The libraries import no service"),
        ("libs/strict_http/src/strict_http/flow.py", "import runtime.logs", "The libraries do not import each other"),
        ("libs/strict_http/src/strict_http/flow.py", "import identity", "The libraries do not import each other"),
        ("libs/identity/src/identity/mac.py", "import strict_http.flow", "The libraries do not import each other"),
        ("libs/runtime/src/runtime/logs.py", "import identity", "The libraries do not import each other"),
        (GATEWAY + "keys/jwks.py", "import gateway.token.claims", "In the gateway"),
        (GATEWAY + "token/claims.py", "import gateway.limits.policy", "In the gateway"),
        (GATEWAY + "limits/policy.py", "import gateway.forward.body", "In the gateway"),
        (GATEWAY + "metrics.py", "import gateway.keys.jwks", "In the gateway"),
        (GATEWAY + "limits/policy.py", "import gateway.settings", "In the gateway"),
        (GATEWAY + "stray.py", "", "In the gateway"),
        (TODOS + "store/stats.py", "import todos.http.routes", "In todos"),
        (TODOS + "domain/fields.py", "import todos.schema.models", "In todos"),
        (TODOS + "stray.py", "", "In todos"),
    ],
)
def test_a_planted_import_against_the_order_is_found(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / module).open("a") as source:
        source.write(f"\n{line}\n")
    code, printed = lint(copy)
    assert code == 1
    broken = printed.partition("Broken contracts")[2]
    assert contract in broken
