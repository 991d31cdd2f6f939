"""The whole pair on this machine: `make run`.

Starts PostgreSQL, Valkey, the development identity provider, todos and gateway, all on loopback, and stops them
together. Data, secrets and logs lie in `.local/`; while everything is up, `.local/stack.json` says where it is.
"""

import base64
import contextlib
import fcntl
import io
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

from devtools.addresses import AddressError, Ports
from devtools.files import write_private
from devtools.parts import Part, answers, has_ended_well, runs, start_parts
from devtools.postgres import LocalPostgres
from devtools.processes import LOOPBACK, Child, StartError, end_with_parent, stop_all
from devtools.signals import Signals, StopRequestedError, parent_is_interrupted
from devtools.token import LOCAL, ProviderError, fetch_token
from devtools.valkey import LocalValkey

READY_SECONDS = 60
IDENTITY_KEY_BYTES = 32
STOPPING = ((("gateway", "todos", "migration", "idp"), 1.5), (("valkey", "postgres"), 2.5))
"""Who stops in which round, and for how many seconds in order; together below the 5 s that all of it may take."""
PARENT_SECONDS = 0.5
"""How often to look whether make was interrupted; everything else comes as a signal."""


class AlreadyRunningError(Exception):
    """Another stack holds the folder; the message names it."""


class Stack:
    """The parts, in the order in which they need each other."""

    def __init__(self, local: Path, programs: Path, ports: Ports, signals: Signals) -> None:
        """Start nothing yet; `programs` is the folder of the console scripts `todos` and `gateway`."""
        self._local = local
        self._programs = programs
        self._ports = ports
        self._signals = signals
        self._logs = local / "logs"
        self._logs.mkdir(exist_ok=True)
        self._keys = _identity_keys(local / "identity_keys")
        self._postgres = LocalPostgres(local / "postgres", ports.postgres, log=self._logs / "postgres.log")
        self._valkey = LocalValkey(local / "valkey", ports.valkey, log=self._logs / "valkey.log")
        self._started: dict[str, Child] = {}
        self._ended: set[str] = set()
        self._under_make = "MAKELEVEL" in os.environ

    def start(self) -> None:
        """Start every part and write `stack.json`.

        Raises:
            StartError: a part did not start.
            StopRequestedError: a stop signal came meanwhile.
        """
        (self._local / "stack.json").unlink(missing_ok=True)
        start_parts(self._parts(), READY_SECONDS, self._signals.pause)
        del self._started["migration"]
        write_private(self._local / "stack.json", json.dumps(self._description(), indent=2) + "\n")

    def watch(self) -> None:
        """Say so when a part ends, and keep the rest running, until make is interrupted.

        Raises:
            StopRequestedError: a stop signal has come.
        """
        while True:
            for name, child in self._started.items():
                if not child.alive and name not in self._ended:
                    self._ended.add(name)
                    print(f"{name} has ended ({child.outcome}); the rest runs on. Its log: {_shown(child.log)}")
            self._signals.pause(PARENT_SECONDS)
            if self._under_make and parent_is_interrupted():
                return

    def stop(self) -> None:
        """Stop what runs, the servers after those that use them."""
        (self._local / "stack.json").unlink(missing_ok=True)
        for names, grace_seconds in STOPPING:
            stop_all([self._started[name] for name in names if name in self._started], grace_seconds)

    def _parts(self) -> list[Part]:
        ports, urls = self._ports, self._ports.urls

        def service(name: str, needs: Collection[str]) -> Part:
            admin = urls[f"{name}_admin"]
            begin = partial(self._service, name, "serve", name)
            return Part(name, f"{urls[name]}   admin {admin}", needs, begin, answers(f"{admin}/healthz/ready"))

        discovery = f"{urls['idp']}/.well-known/openid-configuration"
        migrate = partial(self._service, "todos", "migrate", "migration")
        return [
            Part("identity provider", urls["idp"], (), self._provider, answers(discovery)),
            Part("PostgreSQL", f"{LOOPBACK}:{ports.postgres}", (), partial(self._server, "postgres"), runs),
            Part("migration", "database todos", ("PostgreSQL",), migrate, has_ended_well),
            Part("Valkey", f"{LOOPBACK}:{ports.valkey}", (), partial(self._server, "valkey"), runs),
            service("gateway", ("Valkey", "identity provider")),
            service("todos", ("migration",)),
        ]

    def _server(self, name: str) -> Child:
        server = self._postgres if name == "postgres" else self._valkey
        server.start(self._signals.pause, READY_SECONDS)
        self._started[name] = server.child
        return server.child

    def _provider(self) -> Child:
        command = [sys.executable, "-m", "devtools.idp", "--port", str(self._ports.idp)]
        self._started["idp"] = Child("The identity provider", command, self._logs / "idp.log")
        return self._started["idp"]

    def _service(self, name: str, verb: str, log: str) -> Child:
        settings = self._gateway_settings() if name == "gateway" else self._todos_settings()
        if verb == "migrate":
            settings["TODOS_MIGRATION_DATABASE_URL"] = self._postgres.owner_url()
            settings["TODOS_MAINTENANCE_DATABASE_URL"] = self._postgres.maintenance_url()
        command: list[str | Path] = [self._programs / name, verb]
        environment = {**os.environ, **settings}
        self._started[log] = Child(f"{name} {verb}", command, self._logs / f"{log}.log", environment=environment)
        return self._started[log]

    def _todos_settings(self) -> dict[str, str]:
        return {
            "TODOS_HOST": LOOPBACK,
            "TODOS_PORT": str(self._ports.todos),
            "TODOS_ADMIN_PORT": str(self._ports.todos_admin),
            "TODOS_IDENTITY_KEYS": self._keys,
            "TODOS_DATABASE_URL": self._postgres.app_url(),
            "TODOS_DRAIN_SECONDS": "0",
        }

    def _gateway_settings(self) -> dict[str, str]:
        return {
            "GATEWAY_HOST": LOOPBACK,
            "GATEWAY_PORT": str(self._ports.gateway),
            "GATEWAY_ADMIN_PORT": str(self._ports.gateway_admin),
            "GATEWAY_ISSUER": self._ports.urls["idp"],
            "GATEWAY_AUDIENCE": "todos",
            "GATEWAY_ALLOW_HTTP_JWKS": "true",
            "GATEWAY_UPSTREAM_URL": self._ports.urls["todos"],
            "GATEWAY_IDENTITY_KEYS": self._keys,
            "GATEWAY_REDIS_URL": self._valkey.url,
            "GATEWAY_DRAIN_SECONDS": "0",
        }

    def _description(self) -> dict[str, object]:
        return {
            **self._ports.urls,
            "database_url": self._postgres.app_url(),
            "migration_database_url": self._postgres.owner_url(),
            "maintenance_database_url": self._postgres.maintenance_url(),
            "redis_url": self._valkey.url,
            "identity_keys": self._keys,
            "pids": {"stack": os.getpid(), **{name: child.pid for name, child in self._started.items()}},
        }


def main(local: Path = LOCAL, programs: Path = Path(sys.executable).parent) -> int:
    """Run the stack until a stop signal comes; returns 1 where it could not start, 0 otherwise."""
    if "MAKELEVEL" in os.environ:
        end_with_parent(signal.SIGTERM)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        with Signals() as signals, _only_one(local):
            _run(local, programs, signals)
    except (AddressError, AlreadyRunningError, ProviderError, StartError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(local: Path, programs: Path, signals: Signals) -> None:
    ports = Ports.choose(os.environ)
    stack = Stack(local, programs, ports, signals)
    began = time.monotonic()
    print(f"Starting; data and logs are in {_shown(local)}")
    try:
        with contextlib.suppress(StopRequestedError):
            stack.start()
            print(f"Ready in {time.monotonic() - began:.1f} s. Ctrl-C stops everything; the data stay.")
            print(_examples(ports.urls))
            stack.watch()
        print("Stopping")
    finally:
        stack.stop()
    print("Stopped.")


@contextlib.contextmanager
def _only_one(local: Path) -> Iterator[None]:
    local.mkdir(parents=True, exist_ok=True)
    with (local / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise AlreadyRunningError(
                f"The stack is running already, as process {holder}; stop that one first: kill {holder}"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _examples(urls: Mapping[str, str]) -> str:
    alice, bob = (fetch_token(urls["idp"], sub) for sub in ("alice", "bob"))
    todos = f"{urls['gateway']}/v1/todos"
    body = "-H 'Content-Type: application/json' -d '{\"title\": \"Buy milk\"}'"
    return f"""
A token for alice (more of them: make -s token SUB=alice):

{alice}

Create a todo:

curl -sS {todos} -H 'Authorization: Bearer {alice}' {body}

List alice's todos:

curl -sS {todos} -H 'Authorization: Bearer {alice}'

List bob's, who sees nothing of alice's:

curl -sS {todos} -H 'Authorization: Bearer {bob}'
"""


def _identity_keys(path: Path) -> str:
    if not path.exists():
        key = base64.urlsafe_b64encode(secrets.token_bytes(IDENTITY_KEY_BYTES)).decode()
        write_private(path, f"local:{key}")
    return path.read_text()


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
