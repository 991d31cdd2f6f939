"""The rules as promtool judges them."""

import subprocess
from pathlib import Path

import pytest

from tests.deployment.prometheus_rules import RULE_FILES, TEST_FILES
from tests.deployment.prometheus_server import HOW, PROMTOOL

SECONDS = 80

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(PROMTOOL is None, reason=f"promtool {HOW}"),
]


def promtool(*arguments: str | Path) -> None:
    ended = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_an_alert_fires_when_it_should_and_at_no_other_time(path: Path) -> None:
    promtool("test", "rules", path)
