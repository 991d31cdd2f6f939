"""The whole pair as `make run` starts it, in a folder and on ports of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from devtools.processes import free_port
from tests.contract import DOCUMENT, check_response

ROOT = Path(__file__).resolve().parents[1]
MAIN = "import sys; from pathlib import Path; from devtools.stack import main; sys.exit(main(Path(sys.argv[1])))"
PORTS = ("GATEWAY_PORT", "GATEWAY_ADMIN_PORT", "TODOS_PORT", "TODOS_ADMIN_PORT", "IDP_PORT")
GENEROUS = "user=1000000/60s,user-write=1000000/60s,auth-failure=1000000/60s"


class Pair:
    """What `stack.json` says, and requests to it whose every answer is held to the contract."""

    def __init__(self, description: dict[str, Any], printed: str) -> None:
        self.description = description
        self.printed = printed
        self.gateway: str = description["gateway"]
        self.todos: str = description["todos"]
        self.idp: str = description["idp"]
        self._http = httpx.Client(trust_env=False)
        self._tokens: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()

    def token(self, sub: str, **changes: Any) -> str:
        """A token of the provider; one without changes is asked for once."""
        if not changes and sub in self._tokens:
            return self._tokens[sub]
        answer = self._http.post(f"{self.idp}/token", json={"sub": sub, **changes})
        answer.raise_for_status()
        token: str = answer.json()["access_token"]
        if not changes:
            self._tokens[sub] = token
        return token

    def raw(self, method: str, url: str, **options: Any) -> httpx.Response:
        """A request as it is given, to any part."""
        return self._http.request(method, url, **options)

    def request(self, user: str, method: str, path: str, **options: Any) -> httpx.Response:
        """A request through the gateway as this user."""
        headers = {"Authorization": f"Bearer {self.token(user)}", **options.pop("headers", {})}
        answer = self._http.request(method, self.gateway + path, headers=headers, **options)
        check_response(method, template_of(path), answer.status_code, answer.headers, answer.content)
        return answer

    def metric(self, part: str, name: str) -> float:
        """The sum of a metric over its labels, of `gateway` or `todos`."""
        lines = self._http.get(f"{self.description[f'{part}_admin']}/metrics").text.splitlines()
        values = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return sum(float(value) for series, _, value in values if series.partition("{")[0] == name)


def template_of(path: str) -> str:
    path = path.partition("?")[0]
    return path if path in DOCUMENT["paths"] else re.sub("^/v1/todos/[^/]+", "/v1/todos/{id}", path)


@contextlib.contextmanager
def running_pair(local: Path, **environment: str) -> Iterator[tuple[Pair, subprocess.Popen[str]]]:
    """The stack, ready; stopped at the end, when it must leave nothing behind."""
    ports = {name: str(free_port()) for name in PORTS}
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, str(local)],
        env={**os.environ, **ports, "GATEWAY_RATE_LIMITS": GENEROUS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    try:
        printed = _read_until(process, "List bob's")
        pair = Pair(json.loads((local / "stack.json").read_text()), printed)
        try:
            yield pair, process
        finally:
            pair.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def _read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout
    printed = ""
    found = False
    for line in process.stdout:
        printed += line
        found = found or words in line
        if found and line.startswith("curl"):
            return printed
    raise AssertionError(f"the stack ended:\n{printed}")
