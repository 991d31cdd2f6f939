"""Fixtures of the tests that cross services."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pair import Pair, running_pair


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """The pair, shared by the tests of this worker, each of which brings its own users."""
    with tempfile.TemporaryDirectory(prefix="pair-") as folder:
        Path(folder).chmod(0o711)
        with running_pair(Path(folder) / "local") as (running, _):
            yield running
