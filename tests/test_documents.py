"""The documents: what they link to is there, and what they name is true."""

import re
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "SECURITY.md",
        ROOT / "bench" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "libs").glob("*/README.md"),
    ]
)
SOURCES = {"gateway": ROOT / "services/gateway/src/gateway", "todos": ROOT / "services/todos/src/todos"}
PACKAGES = {path.name: path for path in [*ROOT.glob("libs/*/src/*"), *SOURCES.values()]}
TEST_FILES = [
    path for folder in ("libs", "services", "devtools", "tests") for path in (ROOT / folder).rglob("test_*.py")
]
BORDERS = (
    "Client to gateway",
    "Provider's key set to gateway",
    "Gateway to Redis",
    "Gateway to todos",
    "Todos to database",
    "One account against all",
)


def section(page: str, title: str) -> str:
    """What stands under a heading of the second level."""
    _, found, rest = (ROOT / page).read_text().partition(f"\n## {title}\n")
    assert found
    return rest.partition("\n## ")[0]


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    titles = re.findall("^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path, text: str) -> list[str]:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page, page.read_text()) == []


@pytest.mark.parametrize("target", ["nowhere.md", "docs/nowhere.md#x", "docs/operations.md#nowhere", "#nowhere"])
def test_a_planted_dead_link_is_found(target: str) -> None:
    assert dead_links(ROOT / "README.md", f"[x](docs/operations.md#install) [y]({target})") == [target]


def test_the_architecture_names_the_files_of_every_step_and_draws_one_sequence() -> None:
    text = section("docs/architecture.md", "The steps of a request")
    assert text.count("```mermaid\nsequenceDiagram\n") == 1
    in_gateway, found, in_todos = text.partition("In todos (")
    assert found
    for service, steps, names in (
        ("gateway", in_gateway, ["Request checks", "Token", "Limits", "Forward"]),
        ("todos", in_todos, ["Identity", "Route", "Store", "Database", "Response"]),
    ):
        described = re.findall(r"^\d\. \*\*(\w[\w ]*)\*\*(.*?)(?=^\d\. |^$)", steps, re.MULTILINE | re.DOTALL)
        assert [name for name, _ in described] == names
        assert all(re.search(r"`[\w/]+\.py`", step) for _, step in described)
        for file in re.findall(r"`([\w/]+\.py)`", steps):
            assert (SOURCES[service] / file).is_file(), file


def test_every_package_of_a_service_is_on_the_map() -> None:
    text = section("docs/architecture.md", "The steps of a request") + section("README.md", "Where things are")
    for source in SOURCES.values():
        for package in source.glob("*/__init__.py"):
            assert f"{package.parent.name}/" in text, package


def test_the_top_third_of_the_readme_says_what_for_whom_and_why_and_gives_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    top = "\n".join(lines[: len(lines) // 3])
    for words in (
        "$ make run",
        "$ curl http://127.0.0.1:8000/v1/todos",
        "It is for a team",
        "Why not Envoy, Oathkeeper or",
    ):
        assert words in top


def unfounded(row: str, tests: set[str]) -> list[str]:
    """What is wrong in a row `attack | check | test`: files and tests that do not exist, or a cell without any."""
    _, _, checks, shown, _ = row.split("|")
    files, names = (re.findall(r"`([^`]+)`", cell) for cell in (checks, shown))
    missing = [file for file in files if not (PACKAGES[file.partition("/")[0]] / file.partition("/")[2]).is_file()]
    return [*missing, *(name for name in names if name not in tests), *([] if files and names else ["nothing"])]


@pytest.fixture(scope="module")
def tests() -> set[str]:
    return {name for path in TEST_FILES for name in re.findall(r"def (test_\w+)", path.read_text())}


@pytest.mark.parametrize("border", BORDERS)
def test_every_attack_of_a_border_has_a_check_and_a_test_that_exist(border: str, tests: set[str]) -> None:
    rows = re.findall(r"^\| (?!attack ).*\|$", section("docs/security.md", border), re.MULTILINE)
    assert len(rows) > 1
    assert [(row, faults) for row in rows if (faults := unfounded(row, tests))] == []


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("| a | `gateway/nowhere.py` | `test_there` |", "gateway/nowhere.py"),
        ("| a | `gateway/app.py` | `test_nowhere` |", "test_nowhere"),
        ("| a | `gateway/app.py` | later |", "nothing"),
        ("| a | somewhere | `test_there` |", "nothing"),
    ],
)
def test_a_planted_attack_without_a_check_or_a_test_is_found(row: str, fault: str) -> None:
    assert unfounded(row, {"test_there"}) == [fault]


def test_the_security_page_lists_every_target_of_the_fuzzer() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", section("docs/security.md", "Fuzzing"), re.MULTILINE)
    assert listed == list(TARGETS)


def test_contributing_lists_every_command_of_the_makefile() -> None:
    commands = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert commands - set(re.findall(r"make (?:-s )?([a-z-]+)", section("CONTRIBUTING.md", "Commands"))) == set()
