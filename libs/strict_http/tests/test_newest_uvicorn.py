"""The canary: this library's tests, once more on the newest uvicorn that the package index has."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1]
ROOT = LIBRARY.parents[1]
BIN = Path(sys.executable).parent
TOOLS = ("httptools", "hypothesis", "pytest", "pytest-asyncio", "pytest-timeout", "uvloop")
"""As this environment has them, so that nothing but uvicorn differs."""
SETTINGS = """[pytest]
addopts = --import-mode=importlib --strict-markers -p uvloop_for_tests -p no:cacheprovider
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
markers = external: this file alone
timeout = 90
"""
PLUGIN = """import uvloop

def pytest_asyncio_loop_factories():
    return {"uvloop": uvloop.new_event_loop}
"""


class Environment:
    """A virtual environment in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / "venv/bin/python"
        made = self._run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, folder / "venv")
        assert made.returncode == 0, made.stderr

    def install(self, *requirements: str) -> subprocess.CompletedProcess[str]:
        """Install from the index, not from what an earlier run left in the cache of its answers."""
        command = ("pip", "install", "--quiet", "--upgrade", "--refresh-package", "uvicorn", "--python", self._python)
        return self._run(BIN / "uv", *command, *requirements)

    def uvicorn(self) -> str:
        """Its version in the environment."""
        return self._run(self._python, "-c", "import uvicorn; print(uvicorn.__version__)").stdout.strip()

    def test(self) -> subprocess.CompletedProcess[str]:
        """Run the library's tests, this file left out."""
        (self._folder / "pytest.ini").write_text(SETTINGS)
        (self._folder / "uvloop_for_tests.py").write_text(PLUGIN)
        options = ("-c", self._folder / "pytest.ini", "--rootdir", ROOT, "-m", "not external", "-q")
        return self._run(self._python, "-m", "pytest", *options, LIBRARY / "tests")

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("UV_PYTHON", "VIRTUAL_ENV")}
        path = os.pathsep.join(map(str, (self._folder, LIBRARY / "src", ROOT / "devtools/src", ROOT)))
        environment = {**kept, "UV_SYSTEM_CERTS": "1", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [*map(str, command)], cwd=self._folder, env=environment, capture_output=True, text=True, check=False
        )


@pytest.mark.external
@pytest.mark.timeout(900)
def test_the_promises_hold_on_the_newest_uvicorn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    environment = Environment(tmp_path)
    pinned = environment.install(f"uvicorn=={version('uvicorn')}", *(f"{tool}=={version(tool)}" for tool in TOOLS))
    if pinned.returncode:
        # what was installed here once must be there, so that it is the index that is missing
        pytest.skip("no package index answers")
    newest = environment.install("uvicorn")
    assert newest.returncode == 0, newest.stderr
    run = environment.test()
    summary = f"on uvicorn {environment.uvicorn()}: {run.stdout.strip().rpartition('\n')[2]}"
    with capsys.disabled():
        pytestconfig.get_terminal_writer().line(f"\nstrict_http {summary}")
    assert run.returncode == 0, f"{summary}\n{run.stdout}{run.stderr}"
