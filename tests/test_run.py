"""`make run` as a newcomer meets it: what it prints works when pasted, and data stay."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.pair import running_pair

pytestmark = pytest.mark.xdist_group("pair")


README = Path(__file__).parents[1] / "README.md"


def curl_of_the_readme(gateway: str, token: str) -> str:
    command: str
    [command] = re.findall(r"^\$ (curl .*\\\n.*)\n```$", README.read_text(), re.MULTILINE)
    assert "http://127.0.0.1:8000" in command
    assert "$(make -s token SUB=alice)" in command
    return command.replace("http://127.0.0.1:8000", gateway).replace("$(make -s token SUB=alice)", token)


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
            created = pasted(curl_of_the_readme(pair.gateway, pair.token("carol")))
            assert '"title":"Buy milk"' in created
            assert '"due_date":"2027-01-31"' in created
