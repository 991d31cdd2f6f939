"""Where things are in the checkout."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "devtools", "libs", "services", "tests")


def imported_tests(source: str) -> list[str]:
    """The test modules that `source` imports."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            modules += [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    return [module for module in modules if module.rpartition(".")[2].startswith("test_")]


def test_no_module_imports_a_test_module() -> None:
    modules = [module for folder in FOLDERS for module in (ROOT / folder).rglob("*.py")]
    assert len(modules) > 200
    assert {str(module): found for module in modules if (found := imported_tests(module.read_text()))} == {}


@pytest.mark.parametrize(
    "planted",
    ["from tests.test_run import helper", "from tests import test_run", "import tests.test_run"],
)
def test_the_check_sees_a_planted_import(planted: str) -> None:
    assert imported_tests(planted)
