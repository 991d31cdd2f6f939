"""Mutation testing: what it names exists, and a change that no test notices is named."""

import subprocess
from pathlib import Path

import pytest

from devtools import mutation
from devtools.mutation import GROUPS, ROOT, SOURCES, Group

AGES = """
def is_adult(age: int) -> bool:
    return age >= 18
"""
WEAK_TEST = """
from identity.ages import is_adult

def test_ages():
    assert is_adult(30) and not is_adult(3)
"""


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_the_modules_and_tests_of_a_group_exist(group: Group) -> None:
    for module in group.modules:
        assert list((ROOT / SOURCES[group.package]).glob(module)), module
    for test in group.tests:
        assert (ROOT / test).exists(), test


def test_a_change_that_no_test_notices_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "libs/identity/src/identity/__init__.py": "",
        "libs/identity/src/identity/ages.py": AGES,
        "tests/test_ages.py": WEAK_TEST,
        "pyproject.toml": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    monkeypatch.setattr(mutation, "WORK", tmp_path / "work")
    monkeypatch.setattr(mutation, "GROUPS", {"ages": Group("identity", ["ages.py"], ["tests"])})
    monkeypatch.setattr("sys.argv", ["mutation"])
    assert mutation.main() == 0
    printed = capsys.readouterr().out
    assert "identity.ages: 0 of 2" in printed
    assert "  identity.ages.x_is_adult__mutmut_1 (survived)" in printed
