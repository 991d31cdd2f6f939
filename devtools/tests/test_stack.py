"""The local stack, with stand-ins for the two services."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from devtools import token
from devtools.addresses import AddressError, Ports
from devtools.processes import free_port

STAND_IN = f"""#!{sys.executable}
import http.server, json, os, signal, sys
from pathlib import Path
name, verb = Path(sys.argv[0]).name, sys.argv[1]
prefix = name.upper()
if os.environ.get("STAND_IN_FAILS") == f"{{name}} {{verb}}":
    sys.exit("TODOS_DATABASE_URL: is wrong")
if verb == "migrate":
    import psycopg
    with psycopg.connect(os.environ["TODOS_MIGRATION_DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (run serial)")
        connection.execute("GRANT SELECT ON kept TO todos_app")
        connection.execute("INSERT INTO kept DEFAULT VALUES")
    sys.exit()
if os.environ.get("STAND_IN_STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(json.dumps({{key: value for key, value in os.environ.items() if key.startswith(prefix)}}), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz/ready" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
address = os.environ[prefix + "_HOST"], int(os.environ[prefix + "_ADMIN_PORT"])
http.server.HTTPServer(address, Handler).serve_forever()
"""
MAIN = "import sys; from pathlib import Path; from devtools.stack import main; sys.exit(main(*map(Path, sys.argv[1:])))"

type Start = Callable[..., "Running"]


class Running:
    """A stack in a folder of the test's own."""

    def __init__(self, folder: Path, command: list[str] | None = None, **environment: str) -> None:
        self.local = folder / "local"
        ports = {f"{name}_PORT": str(free_port()) for name in ("GATEWAY_ADMIN", "TODOS", "TODOS_ADMIN", "IDP")}
        self.environment = {**os.environ, "GATEWAY_PORT": str(free_port()), **ports, **environment}
        self.process = subprocess.Popen(
            command or [sys.executable, "-c", MAIN, str(self.local), str(folder)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.seen = ""

    @property
    def description(self) -> dict[str, Any]:
        described: dict[str, Any] = json.loads((self.local / "stack.json").read_text())
        return described

    def until(self, words: str) -> str:
        assert self.process.stdout
        for line in self.process.stdout:
            self.seen += line
            if words in line:
                return line
        raise AssertionError(f"{words!r} was not said:\n{self.seen}")

    def end(self, number: signal.Signals = signal.SIGINT) -> float:
        began = time.monotonic()
        self.process.send_signal(number)
        self.seen += self.process.communicate(timeout=10)[0]
        return time.monotonic() - began


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    for name in ("todos", "gateway"):
        program = tmp_path / name
        program.write_text(STAND_IN)
        program.chmod(0o755)
    stacks: list[Running] = []

    def run(command: list[str] | None = None, **environment: str) -> Running:
        stacks.append(Running(tmp_path, command, **environment))
        return stacks[-1]

    yield run
    for stack in stacks:
        stack.process.kill()
        stack.process.communicate()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_the_end_of(pids: dict[str, int]) -> None:
    deadline = time.monotonic() + 5
    while any(runs(pid) for pid in pids.values()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_tells_every_part_and_where_everything_is(start: Start) -> None:
    stack = start(GATEWAY_RATE_LIMITS="user=1/1s", TODOS_HOST="0.0.0.0")
    stack.until("List bob's")
    for part in ("PostgreSQL", "migration", "Valkey", "identity provider", "todos", "gateway"):
        assert re.search(rf"^  {part} .* \d+\.\d s$", stack.seen, re.MULTILINE)
    described = stack.description
    assert stat.S_IMODE((stack.local / "stack.json").stat().st_mode) == 0o600
    assert described["gateway"] == f"http://127.0.0.1:{stack.environment['GATEWAY_PORT']}"
    assert described["pids"].keys() == {"postgres", "valkey", "idp", "todos", "gateway", "stack"}
    assert described["pids"]["stack"] == stack.process.pid
    with psycopg.connect(described["database_url"]) as connection:
        assert connection.execute("SELECT user").fetchone() == ("todos_app",)
    with psycopg.connect(described["migration_database_url"]) as connection:
        assert connection.execute("SELECT user").fetchone() == ("todos_owner",)
    with redis.Redis.from_url(described["redis_url"]) as client:
        assert client.ping()
    settings = json.loads((stack.local / "logs" / "gateway.log").read_text())
    assert settings["GATEWAY_RATE_LIMITS"] == "user=1/1s"
    assert settings["GATEWAY_ISSUER"] == described["idp"]
    settings = json.loads((stack.local / "logs" / "todos.log").read_text())
    assert settings["TODOS_HOST"] == "127.0.0.1"
    assert "TODOS_MIGRATION_DATABASE_URL" not in settings


def test_a_signal_ends_everything_within_five_seconds_and_data_and_secrets_stay(start: Start) -> None:
    keys = set()
    for run, number in enumerate((signal.SIGINT, signal.SIGTERM), start=1):
        stack = start()
        stack.until("Ready in")
        described = stack.description
        keys.add(described["identity_keys"])
        with psycopg.connect(described["database_url"]) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (run,)
        assert stack.end(number) < 5
        assert stack.process.returncode == 0
        assert not any(runs(pid) for pid in described["pids"].values())
        assert not (stack.local / "stack.json").exists()
        for private in ("identity_keys", "logs/todos.log"):
            assert stat.S_IMODE((stack.local / private).stat().st_mode) == 0o600
    assert len(keys) == 1


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_make_alone_ends_everything(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    if number != signal.SIGTERM and sys.platform != "linux":
        pytest.skip("only Linux lets a child see this")
    makefile = tmp_path / "Makefile"
    makefile.write_text(f"run:\n\t@exec {sys.executable} -c '{MAIN}' {tmp_path}/local {tmp_path}\n")
    stack = start(command=["make", "-f", str(makefile), "run"])
    stack.until("Ready in")
    pids = stack.description["pids"]
    assert stack.end(number) < 5
    wait_for_the_end_of(pids)


def test_when_a_part_dies_it_says_so_and_keeps_the_rest(start: Start) -> None:
    stack = start(STAND_IN_STUBBORN="1")
    stack.until("Ready in")
    pids = stack.description["pids"]
    for name in ("valkey", "todos"):
        os.kill(pids[name], signal.SIGKILL)
        line = stack.until("has ended")
        assert line.startswith(f"{name} has ended (killed by SIGKILL); the rest runs on.")
        assert f"{name}.log" in line
    os.kill(pids["postgres"], signal.SIGSTOP)
    assert all(runs(pids[name]) for name in ("gateway", "idp", "postgres"))
    assert stack.end() < 5
    assert not any(runs(pid) for pid in pids.values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_nothing_outlives_a_killed_stack_and_the_next_one_starts(start: Start) -> None:
    stack = start()
    stack.until("Ready in")
    pids = stack.description["pids"]
    stack.end(signal.SIGKILL)
    wait_for_the_end_of(pids)
    start().until("Ready in")


def test_a_signal_while_starting_leaves_nothing(start: Start) -> None:
    stack = start()
    stack.until("Starting")
    time.sleep(0.5)
    assert stack.end(signal.SIGTERM) < 5
    assert "Stopped." in stack.seen
    start().until("Ready in")


def test_a_taken_port_is_told_in_one_line_before_anything_starts(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        stack = start(TODOS_ADMIN_PORT=str(port))
        said, _ = stack.process.communicate(timeout=10)
    assert stack.process.returncode == 1
    assert said.count("\n") == 1
    assert f"port {port} (TODOS_ADMIN_PORT) is taken" in said
    assert not (stack.local / "postgres").exists()


def test_a_second_run_names_the_first(start: Start) -> None:
    first = start()
    first.until("Ready in")
    second = start()
    said, _ = second.process.communicate(timeout=10)
    assert second.process.returncode == 1
    assert said.count("\n") == 1
    assert f"process {first.process.pid}" in said
    assert first.description["pids"]["stack"] == first.process.pid


@pytest.mark.parametrize("failing", ["todos migrate", "gateway serve"])
def test_a_part_that_does_not_start_is_named_with_its_last_words(start: Start, failing: str) -> None:
    stack = start(STAND_IN_FAILS=failing)
    said, _ = stack.process.communicate(timeout=20)
    assert stack.process.returncode == 1
    assert re.search(rf"^{failing} .*\(exit code 1\):\n    TODOS_DATABASE_URL: is wrong$", said, re.MULTILINE)
    assert not (stack.local / "stack.json").exists()


def test_token_prints_a_token_and_nothing_else(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = start()
    stack.until("Ready in")
    monkeypatch.setenv("SUB", "alice's $(id)")
    assert token.main(stack.local) == 0
    printed = capsys.readouterr().out
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", printed)
    stack.process.kill()
    stack.process.wait()
    assert token.main(stack.local) == 1
    address = stack.description["idp"].removeprefix("http://")
    said = capsys.readouterr().err
    assert re.fullmatch(rf"identity provider at {address}: .+\. Is the stack running\? Start it with: make run\n", said)


def test_token_without_a_stack_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUB", "alice")
    assert token.main(tmp_path) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "The stack is not running; start it with: make run\n"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"IDP_PORT": "80a"}, "IDP_PORT is '80a', not a port"),
        ({"IDP_PORT": "65536"}, "IDP_PORT is '65536', not a port"),
        ({"GATEWAY_PORT": "8001"}, "GATEWAY_PORT and TODOS_PORT are both 8001"),
    ],
)
def test_ports_that_cannot_be_are_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(AddressError, match=re.escape(words)):
        Ports.choose(environment)


def test_port_0_is_any_free_one() -> None:
    names = ("GATEWAY", "GATEWAY_ADMIN", "TODOS", "TODOS_ADMIN", "IDP", "POSTGRES", "VALKEY")
    ports = Ports.choose({f"{name}_PORT": "0" for name in names})
    assert len({*vars(ports).values(), 0}) == 8
    assert httpx.URL(ports.urls["idp"]).port == ports.idp
