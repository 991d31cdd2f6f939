import signal
import subprocess
import sys

import pytest

ASK = "from devtools.signals import parent_is_interrupted; print(parent_is_interrupted())"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("blocked", "interrupted"),
    [(set(), "False"), ({signal.SIGINT}, "True"), (signal.valid_signals(), "False")],
    ids=["none", "SIGINT", "all"],
)
def test_a_parent_that_forks_is_not_taken_for_one_that_is_interrupted(
    blocked: set[signal.Signals], interrupted: str
) -> None:
    parent = f"""
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input(); {ASK}"], stdin=subprocess.PIPE, text=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {sorted(map(int, blocked))})
child.communicate("go")
"""
    told = subprocess.run([sys.executable, "-c", parent], capture_output=True, check=True, text=True)
    assert told.stdout.strip() == interrupted
