"""The check that keeps the requirement files true; it asks the package index."""

import shutil
from pathlib import Path

import pytest

from devtools import locks

LOCK = "services/gateway/requirements.txt"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The gateway's lock in a workspace of the test's own."""
    projects = [str(path.relative_to(locks.ROOT)) for path in locks.ROOT.glob("*/*/pyproject.toml")]
    for name in (LOCK, "VERSION", "pyproject.toml", "devtools/pyproject.toml", *projects):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(locks.ROOT / name, tmp_path / name)
    monkeypatch.setattr(locks, "ROOT", tmp_path)
    return tmp_path


def test_a_pin_nobody_asks_for_is_found(copy: Path) -> None:
    lock = copy / LOCK
    lock.write_text(lock.read_text() + "left-behind==1.0 \\\n    --hash=sha256:" + "0" * 64 + "\n")
    assert locks.difference(LOCK) == ["- left-behind==1.0"]


def test_a_pin_that_is_missing_is_found(copy: Path) -> None:
    lock = copy / LOCK
    held = locks.PIN.findall(lock.read_text())
    kept, _, dropped = lock.read_text().rpartition(held[-1])
    assert dropped
    lock.write_text(kept)
    assert [line.partition("==")[0] for line in locks.difference(LOCK)] == [f"+ {held[-1].partition('==')[0]}"]


def test_a_pin_that_no_longer_fits_is_found(copy: Path) -> None:
    project = copy / "libs/strict_http/pyproject.toml"
    text = project.read_text()
    assert "uvicorn==0.54.0" in text
    project.write_text(text.replace("uvicorn==0.54.0", "uvicorn==0.50.0"))
    found = locks.difference(LOCK)
    assert "- uvicorn==0.54.0" in found
    assert "+ uvicorn==0.50.0" in found
