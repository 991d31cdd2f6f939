"""`make run` as a newcomer meets it: what it prints works when pasted, and data stay."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.pair import running_pair

pytestmark = pytest.mark.xdist_group("pair")


def pasted(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True, timeout=20).stdout


def test_what_is_printed_works_when_pasted_and_the_data_are_there_the_next_time(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    for run in (1, 2):
        with running_pair(tmp_path / "local") as (pair, _):
            assert re.search(r"^Ready in \d+\.\d s\.", pair.printed, re.MULTILINE)
            create, hers, his = (line for line in pair.printed.splitlines() if line.startswith("curl"))
            assert '"title":"Buy milk"' in pasted(create)
            assert pasted(hers).count('"title":"Buy milk"') == run
            assert pasted(his) == "[]"
