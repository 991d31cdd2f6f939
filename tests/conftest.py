"""Fixtures of the tests that cross services."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pair import Pair, running_pair

pytest.register_assert_rewrite("tests.end_to_end")


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """The pair, shared by the tests of this worker, each of which brings its own users."""
    with tempfile.TemporaryDirectory(prefix="pair-") as folder:
        Path(folder).chmod(0o711)
        with running_pair(Path(folder) / "local") as (running, _):
            yield running


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An id for each operation that Schemathesis tests: of those with one id xdist would run a single one."""
    for item in items:
        label = getattr(item, "operation_label", None)
        if label is not None:
            item._id = item.id.with_params(label)
