"""docs/operations.md, pasted."""

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from gateway.auth_errors import Reason
from runtime.logs import pseudonym
from tests.deployment.operations_page import PAGE, blocks, commands, first_column, section, typed
from tests.deployment.prometheus_rules import RUNBOOKS
from tests.pair import Pair, running_pair

SECONDS = 20
COMMON_FIELDS = {"time", "level", "service", "logger", "message"}
REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")

pytestmark = pytest.mark.xdist_group("pair")


@dataclass(frozen=True)
class Operated:
    """A running pair, and a shell in its folder with what the page defines for `make run`."""

    pair: Pair
    folder: Path

    def typed(self, command: str, **environment: str) -> str:
        (functions,) = (block for block in blocks("Logs and metrics", "sh") if block.startswith("# make run"))
        return typed(command, self.folder, {**self._settings, **environment}, before=functions)

    @property
    def _settings(self) -> dict[str, str]:
        pair = self.pair
        return {
            "GATEWAY_ISSUER": pair.idp,
            "GATEWAY_AUDIENCE": "todos",
            "GATEWAY_ALLOW_HTTP_JWKS": "true",
            "GATEWAY_UPSTREAM_URL": pair.todos,
            "GATEWAY_IDENTITY_KEYS": pair.description["identity_keys"],
            "GATEWAY_REDIS_URL": pair.description["redis_url"],
            "TODOS_DATABASE_URL": pair.description["database_url"],
            "TODOS_IDENTITY_KEYS": pair.description["identity_keys"],
        }

    def lines(self, command: str, count: int) -> list[dict[str, Any]]:
        """The log lines that a command finds, once there are so many: they are written in batches."""
        found: list[str] = []
        awaited(lambda: len(found := self.typed(f"{command} || true").splitlines()) >= count)
        found = self.typed(command).splitlines()
        assert len(found) == count
        return [json.loads(line) for line in found]


@pytest.fixture(scope="module")
def operated() -> Iterator[Operated]:
    with tempfile.TemporaryDirectory(prefix="pair-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with running_pair(folder / ".local") as (pair, _):
            yield Operated(pair, folder)


def awaited(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def about(command: str, request_id: str) -> str:
    return REQUEST_ID.sub(request_id, command)


def test_a_request_is_found_by_its_id_in_both_logs_with_the_fields_of_the_page(operated: Operated) -> None:
    answer = operated.pair.request("alice", "GET", "/v1/todos")
    (command,) = commands("Follow one request")
    gateway, todos = operated.lines(about(command, answer.headers["x-request-id"]), 2)
    assert (gateway["service"], gateway["logger"]) == ("gateway", "gateway.access")
    assert (todos["service"], todos["logger"]) == ("todos", "todos.access")
    told = set(first_column("Follow one request"))
    assert (gateway.keys() | todos.keys()) - COMMON_FIELDS == told - {"auth_failure"}
    (digest,) = commands("Logs and metrics")
    assert operated.typed(digest).strip() == gateway["user"] == todos["user"]


def test_a_401_has_its_reason_in_the_log_under_its_id(operated: Operated) -> None:
    find, _, _ = commands("Debug a 401")
    for token, reason in (
        ("e30.e30.e30", "malformed"),
        (operated.pair.token("alice", aud="another"), "audience"),
        (operated.pair.token("alice", ttl=-60), "expired"),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        answer = operated.pair.raw("GET", f"{operated.pair.gateway}/v1/todos", headers=headers)
        assert answer.status_code == 401
        (line,) = operated.lines(about(find, answer.headers["x-request-id"]), 1)
        assert line["auth_failure"] == reason


def test_every_reason_is_explained(operated: Operated) -> None:
    explained = [name for name in first_column("Debug a 401") if name in get_args(Reason)]
    assert sorted(explained) == sorted(get_args(Reason))
    command = re.findall(r"`(metrics [^`]*)`", section("Debug a 401"))[0]
    port = urlsplit(operated.pair.description["gateway_admin"]).port
    counted = operated.typed(command.replace("9000", str(port)))
    assert set(re.findall('reason="([a-z_]+)"', counted)) == set(explained)


def test_a_token_is_explained_as_the_page_shows(operated: Operated) -> None:
    _, explain, _ = commands("Debug a 401")
    printed = operated.typed(explain, TOKEN=operated.pair.token("alice", aud="other"))
    (shown,) = (block for block in blocks("Debug a 401", "console") if explain in block)
    assert shown.endswith(f"{explain}\n{printed}")
    assert printed.count("\n") == 3


def test_a_token_is_read_without_sending_it_anywhere(operated: Operated) -> None:
    _, _, read = commands("Debug a 401")
    header, claims = map(json.loads, operated.typed(read, TOKEN=operated.pair.token("alice")).splitlines())
    assert header["alg"] == "RS256"
    assert (claims["iss"], claims["sub"]) == (operated.pair.idp, "alice")


def test_the_checks_say_that_all_is_well(operated: Operated) -> None:
    gateway, todos = commands("Install")
    assert operated.typed(gateway).startswith(f"settings: good\nkeys of {operated.pair.idp}: ")
    database = urlsplit(operated.pair.description["database_url"])
    in_order = f"database at {database.hostname}:{database.port}: role and schema are in order"
    assert operated.typed(todos) == f"settings: good\n{in_order}\n"


def test_revoking_counts_from_the_next_request_on(operated: Operated) -> None:
    every, one = (command.replace("alice", "mallory") for command in commands("Revoke a token or a user"))
    token_id = uuid4().hex
    token, other = operated.pair.token("mallory", claims={"jti": token_id}), operated.pair.token("mallory")

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return operated.pair.raw("GET", f"{operated.pair.gateway}/v1/todos", headers=headers).status_code

    assert (status(token), status(other)) == (200, 200)
    assert operated.typed(one.replace("0b1e", token_id)) == "revoked: this token of the user\n"
    assert (status(token), status(other)) == (401, 200)
    assert operated.typed(every).startswith("revoked: every token of the user issued until ")
    assert (status(token), status(other)) == (401, 401)


def test_a_new_identity_key_is_one_that_the_services_take(operated: Operated) -> None:
    (command,) = commands("Rotate the identity keys")
    key = operated.typed(command).strip()
    both = f"{operated.pair.description['identity_keys']},{key}"
    gateway, _ = commands("Install")
    assert "settings: good" in operated.typed(gateway, GATEWAY_IDENTITY_KEYS=both)


@pytest.mark.parametrize(
    ("command", "changes", "told"),
    [
        ("gateway serve", {"GATEWAY_ISSUER": ""}, "`GATEWAY_ISSUER: is required, unless GATEWAY_ISSUERS is set`"),
        ("gateway check", {"GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "`entry 2 of GATEWAY_TRUSTED_PROXIES: …`"),
        ("gateway check", {"GATEWAY_ALLOW_HTTP_JWKS": "false"}, "`GATEWAY_ISSUER: must be https; …`"),
        ("todos check", {"TODOS_DATABASE_URL": "owner"}, "`refused to start: the role of TODOS_DATABASE_URL owns the"),
        ("todos check", {"TODOS_DATABASE_URL": "away"}, "`connection refused`"),
        ("todos check", {"TODOS_DATABASE_URL": "empty"}, "the schema is not there, or older than this version"),
        ("gateway serve", {"GATEWAY_PORT": "taken"}, "`cannot listen on 0.0.0.0 port 8000: Address already in use`"),
    ],
)
def test_a_start_up_fault_says_what_the_page_says(
    operated: Operated, command: str, changes: dict[str, str], told: str
) -> None:
    description = operated.pair.description
    taken = urlsplit(operated.pair.gateway).port
    values = {
        "owner": description["migration_database_url"],
        "away": "postgresql://todos_app:x@127.0.0.1:1/todos",
        "empty": description["database_url"].rpartition("/")[0] + "/postgres",
        "taken": str(taken),
    }
    assert told in section("Start-up faults")
    settings = {name: values.get(value, value) for name, value in changes.items()}
    said = operated.typed(f"{command} 2>&1 && exit 1 || true", GATEWAY_HOST="127.0.0.1", **settings)
    words = told.strip("`").removeprefix("refused to start: ").replace("0.0.0.0 port 8000", f"127.0.0.1 port {taken}")
    assert all(part in said for part in re.split(r"…\)?", words)), said


def test_who_was_erased_is_known_by_a_pseudonym(operated: Operated) -> None:
    user = f"erased-{uuid4().hex[:8]}"
    operated.pair.request(user, "POST", "/v1/todos", json={"title": "x"})
    assert operated.pair.request(user, "DELETE", "/v1/me").status_code == 204
    *_, find = commands("Restore a database")
    awaited(lambda: pseudonym(user) in operated.typed(f"{find} || true"))
    assert operated.typed(find) == f'"user": "{pseudonym(user)}"\n'


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_what_a_runbook_looks_for_in_the_logs_can_be_typed(operated: Operated, page: Path) -> None:
    for command in re.findall(r"`(logs [^`]*)`", page.read_text()):
        assert "\n" not in command
        # grep ends with 1 where it finds nothing, with 2 where it cannot
        operated.typed(f"set -o pipefail; {command.replace('\\|', '|')} || [ $? = 1 ]")


def test_every_link_of_the_page_leads_somewhere() -> None:
    text = PAGE.read_text()
    titles = re.findall("^## (.*)$", text, re.MULTILINE)
    headings = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (PAGE.parent / path).exists(), target
        assert path or anchor in headings, target
    for page in (PAGE.parent / "runbooks").glob("*.md"):
        assert set(re.findall(r"operations\.md#([a-z0-9-]+)", page.read_text())) <= headings, page.name
