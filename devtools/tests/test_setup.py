"""The set-up of the development environment, where it must refuse."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from devtools.locks import ROOT

TOOLS = ("sh", "dirname", "cat", "head", "sed", "rm", "awk")
MISSING = "Python 3.13 is missing"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout without an environment, and in `bin` the tools of a machine without Python."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(found)
    sources = [*ROOT.glob("services/*/pyproject.toml"), *ROOT.glob("libs/*/pyproject.toml")]
    for source in [*sources, *(ROOT / name for name in ("devtools/pyproject.toml", "devtools/setup.sh"))]:
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    for name in ("Makefile", "VERSION", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": str(folder / "bin"), **environment}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_a_missing_python_is_one_line_and_nothing_is_left(bare: Path) -> None:
    before = set(bare.iterdir())
    refused = run(bare, str(bare / "devtools" / "setup.sh"))
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith(MISSING)
    assert set(bare.iterdir()) == before


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
@pytest.mark.parametrize("target", ["run", "test", "token"])
def test_make_adds_nothing_but_its_own_line(bare: Path, target: str) -> None:
    make = shutil.which("make")
    assert make
    refused = run(bare, make, target)
    assert refused.returncode != 0
    lines = refused.stderr.splitlines()
    assert lines[0].startswith(MISSING)
    assert all(line.startswith("make") for line in lines[1:])
    assert len(lines) == 2


@pytest.mark.parametrize("says", ["exit 127", "echo Python 3.12", "exit 1"])
def test_an_interpreter_that_is_not_python_3_13_does_not_count(bare: Path, says: str) -> None:
    shim = bare / "bin" / "python3.13"
    shim.write_text(f"#!/bin/sh\n{says}\nexit 1\n")
    shim.chmod(0o755)
    refused = run(bare, str(bare / "devtools" / "setup.sh"), PYTHON=str(shim))
    assert refused.returncode == 1
    assert refused.stderr.startswith(MISSING)


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_help_lists_every_command() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("run", "token", "test", "test-external", "help"):
        assert f"make {command} " in shown


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
@pytest.mark.parametrize(
    "sub", ["$(shell touch planted)", "`touch planted`", '"; touch planted; "', "$$(touch planted)"]
)
def test_a_user_name_is_data_to_make_and_to_the_shell(bare: Path, sub: str) -> None:
    (bare / "devtools" / "setup.sh").write_text("#!/bin/sh\n")
    python = bare / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf %s "$SUB"\n')
    python.chmod(0o755)
    make = shutil.which("make")
    assert make
    told = subprocess.run(
        [make, "-s", "token", f"SUB={sub}"], cwd=bare, env=os.environ, capture_output=True, text=True, check=True
    )
    assert told.stdout == sub
    assert not (bare / "planted").exists()
