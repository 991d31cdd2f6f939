"""What is in the images, and what is not."""

import re
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from tests.deployment.engine import ROOT, VERSION, docker, inspect, require_docker, run

SERVICES = ("gateway", "todos")
BASE = "python:3.13-slim"
MOST_BYTES = 120_000_000
"""Above the base image."""
BUILD_SECONDS = 400
PACKAGES = "app/lib/python3.13/site-packages/"
UNWANTED = re.compile(
    r"""
    /(bin|site-packages|python3\.13)/(pip|pip3[.0-9]*|ensurepip|setuptools|hatchling|wheel|_?pytest|mypy|ruff|uv)($|/|-[0-9])
    | (^|/)devtools(/|$)
    | ^app/(.*/)?test(s|ing)?(/|$)
    | (^|/)(\.git|\.env|\.venv|\.local|\.secrets|Dockerfile|docker-compose\.yml|Makefile)(/|$)
    | (^|/)(test_[^/]*|conftest)\.py$
    | ^(usr/)?(local/)?s?bin/(gcc|g\+\+|cc|c\+\+|ld|as|make|rustc|go|git|curl|wget)$
    | (^|/)(id_rsa|id_ed25519|identity_keys|passwords\.json)$
    | ^(app|home|root|run|srv|opt|etc/(gateway|todos))/(.*/)?[^/]*\.(key|pem|p12|pfx|jks)$
    """,
    re.VERBOSE,
)
AUTHORITIES = PACKAGES + "certifi/cacert.pem"
LIBRARY = {AUTHORITIES, PACKAGES + "annotated_types/test_cases.py"}

pytestmark = [pytest.mark.external, pytest.mark.timeout(BUILD_SECONDS + 60)]


@dataclass(frozen=True)
class Image:
    service: str
    name: str
    files: dict[str, tarfile.TarInfo]

    @property
    def described(self) -> dict[str, Any]:
        return inspect("image", self.name)

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.described["Config"])


def contents(name: str) -> dict[str, tarfile.TarInfo]:
    """Every file that a container of the image sees."""
    container = docker("create", name).strip()
    try:
        with Popen(["docker", "export", container], stdout=PIPE) as export:
            assert export.stdout
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                return {member.name.removeprefix("./").rstrip("/"): member for member in archive}
    finally:
        docker("rm", container)


def unwanted(paths: Iterable[str]) -> list[str]:
    return sorted(path for path in paths if UNWANTED.search(path) and path not in LIBRARY)


@pytest.fixture(scope="module", params=SERVICES)
def image(request: pytest.FixtureRequest) -> Iterator[Image]:
    require_docker()
    service = request.param
    name = f"{service}:test-{uuid.uuid4().hex[:8]}"
    dockerfile = f"services/{service}/Dockerfile"
    version = f"--build-arg=VERSION={VERSION}"
    docker("build", "--quiet", version, f"--tag={name}", f"--file={dockerfile}", ".", seconds=BUILD_SECONDS)
    try:
        yield Image(service, name, contents(name))
    finally:
        docker("image", "rm", "--force", name)


def test_the_image_runs_the_service_as_a_user_without_rights_and_ends_on_sigterm(image: Image) -> None:
    settings = image.settings
    assert (settings["User"], settings["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert (settings["Entrypoint"], settings["Cmd"]) == (None, [image.service, "serve"])
    ports = {"gateway": {"8000/tcp", "9000/tcp"}, "todos": {"8001/tcp", "9001/tcp"}}
    assert settings["ExposedPorts"].keys() == ports[image.service]
    form, program, *_ = settings["Healthcheck"]["Test"]
    assert (form, program) == ("CMD", "python")


def test_labels_tell_name_version_and_licence(image: Image) -> None:
    labels = {name.rpartition(".")[2]: value for name, value in image.settings["Labels"].items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == (image.service, VERSION, "Apache-2.0")
    assert labels["description"]


def test_the_image_adds_no_more_than_120_megabytes_to_its_base(image: Image, record_property: Any) -> None:
    added = image.described["Size"] - inspect("image", BASE)["Size"]
    record_property("megabytes", added / 1e6)
    assert 0 < added <= MOST_BYTES


def test_the_image_holds_no_tool_test_or_key(image: Image) -> None:
    assert unwanted(image.files) == []


@pytest.mark.parametrize(
    "planted",
    [
        "usr/local/bin/pip",
        "usr/local/lib/python3.13/ensurepip/__init__.py",
        PACKAGES + "pip/__init__.py",
        PACKAGES + "pip-26.0.dist-info/METADATA",
        PACKAGES + "hatchling/build.py",
        PACKAGES + "devtools/idp.py",
        PACKAGES + "todos/tests/test_todos.py",
        "app/tests/test_end_to_end.py",
        "app/.git/HEAD",
        "build/.env",
        "app/Dockerfile",
        "run/secrets/identity_keys",
        "app/server.key",
        "root/client.pem",
        "usr/bin/gcc",
    ],
)
def test_a_planted_tool_test_or_key_is_found(planted: str) -> None:
    assert unwanted([planted, PACKAGES + "todos/app.py"]) == [planted]


def test_the_image_holds_the_source_of_its_service_and_of_no_other(image: Image) -> None:
    libs = ("identity", "runtime", "strict_http")
    packages = {**{name: f"libs/{name}" for name in libs}, image.service: f"services/{image.service}"}
    ours = {"gateway", "todos", *libs}
    held = {path.removeprefix(PACKAGES) for path, member in image.files.items() if path.startswith(PACKAGES)}
    found = {path for path in held if path.split("/")[0] in ours and path.endswith(".py")}
    wanted = {
        str(path.relative_to(ROOT / folder / "src")) for folder in packages.values() for path in sources(folder, "src")
    }
    if image.service == "todos":
        wanted |= {f"todos/{path.relative_to(ROOT / 'services/todos')}" for path in migrations()}
    assert found == wanted


def sources(folder: str, part: str) -> Iterator[Path]:
    return (ROOT / folder / part).rglob("*.py")


def migrations() -> Iterator[Path]:
    return sources("services/todos", "migrations")


def test_nothing_is_compiled_at_the_start(image: Image) -> None:
    modules = [
        path for path in image.files if path.endswith(".py") and path.startswith(("app/lib/", "usr/local/lib/python"))
    ]
    assert len(modules) > 500
    assert [path for path in modules if compiled(path) not in image.files] == []


def compiled(module: str) -> str:
    folder, _, name = module.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-313.pyc"


def test_the_service_can_write_nothing_that_it_runs(image: Image) -> None:
    program = [member for path, member in image.files.items() if path.startswith(("app", "usr")) and not member.issym()]
    assert {(member.uid, member.name) for member in program if member.uid != 0} == set()
    assert [member.name for member in program if member.mode & 0o002 and not member.mode & 0o1000] == []


ALLOWED = re.compile(
    r"VERSION|requirements-build\.txt"
    r"|(services|libs)/[a-z]+/(pyproject\.toml|requirements\.txt|src/.*)"
    r"|services/todos/migrations/.*"
    r"|devtools/(requirements\.txt|src/.*)"
)


def test_a_build_is_sent_only_what_it_may_use(tmp_path: Path) -> None:
    require_docker()
    name = f"context:test-{uuid.uuid4().hex[:8]}"
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY . /context\nCMD ["none"]\n')
    docker("build", "--quiet", f"--tag={name}", f"--file={tmp_path}/Dockerfile", ".", seconds=BUILD_SECONDS)
    try:
        held = contents(name)
    finally:
        docker("image", "rm", "--force", name)
    sent = {
        path.removeprefix("context/") for path, file in held.items() if path.startswith("context/") and file.isfile()
    }
    assert {"VERSION", "services/todos/src/todos/cli.py"} <= sent
    assert [path for path in sent if not ALLOWED.fullmatch(path) or path.endswith(".pyc")] == []


LEAST = ("--rm", "--read-only", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")
NO_SHELL = ("--volume=/dev/null:/usr/bin/dash:ro", "--volume=/dev/null:/usr/bin/bash:ro")


def refusal(image: Image, *command: str) -> list[str]:
    done = run("docker", "run", *LEAST, *NO_SHELL, image.name, *command)
    assert done.returncode == 2, done.stderr
    return sorted(line.partition(":")[0] for line in done.stderr.splitlines())


def test_without_settings_the_service_exits_with_2_and_names_them_and_needs_no_shell_for_it(image: Image) -> None:
    required = {
        "gateway": ["GATEWAY_AUDIENCE", "GATEWAY_IDENTITY_KEYS", "GATEWAY_ISSUER", "GATEWAY_UPSTREAM_URL"],
        "todos": ["TODOS_DATABASE_URL", "TODOS_IDENTITY_KEYS"],
    }
    assert refusal(image) == required[image.service]
    if image.service == "todos":
        assert refusal(image, "todos", "migrate") == ["TODOS_DATABASE_URL", "TODOS_MIGRATION_DATABASE_URL"]
        assert refusal(image, "todos", "purge") == ["TODOS_MAINTENANCE_DATABASE_URL"]
