"""The promises of the pair, kept by two processes on real sockets of this machine."""

import pytest

from tests.end_to_end import *  # noqa: F403 - each promise is a test here

pytestmark = [pytest.mark.xdist_group("pair")]
