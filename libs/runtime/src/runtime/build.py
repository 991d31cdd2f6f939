"""Which build of a service runs."""

import platform
from importlib.metadata import version
from typing import NamedTuple


class Build(NamedTuple):
    """The version of the installed distribution, which is that of the VERSION file, and Python's."""

    version: str
    python: str


def build_of(service: str) -> Build:
    """The build of `gateway` or `todos`."""
    return Build(version(f"pair-{service}"), platform.python_version())
