"""What all contenders share: PostgreSQL with the rows, Valkey, an identity provider, a static upstream."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import httpx
import psycopg
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWKSet

from bench.messages import message, status
from devtools.postgres import DATABASE, LocalPostgres
from devtools.processes import LOOPBACK, Child, free_port, run_to_end, wait_until
from devtools.token import fetch_token
from devtools.valkey import LocalValkey
from identity import Keyring, parse_key

PROGRAMS = Path(sys.executable).parent
HERE = Path(__file__).parent
AUDIENCE = "todos"
PEERS_DATABASE = "peers"
USERS = tuple(f"user-{number}" for number in range(200))
TODOS_OF_A_USER = 50
READY_SECONDS = 60
_ANSWER = '{"id":"0192f7c0-0000-7000-8000-000000000000","title":"Buy milk","description":"%s","completed":false}' % (
    "x" * 300
)


@dataclass(frozen=True)
class Running:
    """A server: its process and its ports, and the request that it answers with success once it is ready."""

    child: Child
    port: int
    question: bytes
    admin_port: int | None = None


@dataclass
class Stage:
    """Starts servers; all of them end with it."""

    folder: Path
    postgres: LocalPostgres
    valkey: LocalValkey
    identity_keys: str
    stack: contextlib.ExitStack
    issuer: str = ""
    public_key: Path = Path()
    logs: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    @cached_property
    def keyring(self) -> Keyring:
        return Keyring(dict([parse_key(self.identity_keys)]))

    @cached_property
    def tokens(self) -> list[str]:
        """One of each of the first twenty users."""
        return [fetch_token(self.issuer, user) for user in USERS[:20]]

    @cached_property
    def upstream_port(self) -> int:
        """Of a server that answers everything at once with the same 405 bytes."""
        port = free_port()
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if nginx:
            configuration = self.folder / "nginx.conf"
            configuration.write_text(_nginx(port, self.folder))
            command: list[str | Path] = [nginx, "-p", self.folder, "-c", configuration]
        else:
            command = [sys.executable, "-m", "bench.upstream", str(port), _ANSWER]
        return self.ready(self.start("upstream", command, port, {}, message("GET", b"/", []))).port

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        port: int,
        environment: Mapping[str, str],
        question: bytes,
        admin_port: int | None = None,
    ) -> Running:
        """Start a server; `question` goes to its admin port where it has one.

        Raises:
            StartError: the program is not there or may not run.
        """
        log = self.folder / f"{next(self.logs)}-{name}.log"
        child = Child(name, command, log, environment={**os.environ, **environment})
        self.stack.callback(child.stop)
        return Running(child, port, question, admin_port)

    def ready(self, running: Running) -> Running:
        """The same, once it answers.

        Raises:
            StartError: it does not.
        """
        wait_until(_answered(running.admin_port or running.port, running.question), running.child, READY_SECONDS)
        return running

    def run(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Run a program to its good end."""
        log = self.folder / f"{next(self.logs)}-{name}.log"
        run_to_end(Child(name, command, log, environment={**os.environ, **environment}), READY_SECONDS)


@contextlib.contextmanager
def open_stage() -> Iterator[Stage]:
    """Everything shared, started on loopback in a folder of its own; gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL may have to be another user
        postgres = LocalPostgres(folder / "postgres", durable=False)
        postgres.start()
        stack.callback(postgres.stop)
        valkey = LocalValkey(folder / "valkey")
        valkey.start()
        stack.callback(valkey.stop)
        stage = Stage(folder, postgres, valkey, "bench:" + "A" * 43, stack)
        _start_provider(stage)
        yield stage


def _start_provider(stage: Stage) -> None:
    port = free_port()
    stage.issuer = f"http://{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "devtools.idp", "--port", str(port)]
    stage.ready(stage.start("provider", command, port, {}, message("GET", b"/jwks.json", [])))
    key_set = PyJWKSet.from_dict(httpx.get(f"{stage.issuer}/jwks.json", trust_env=False).json())
    key = cast(RSAPublicKey, key_set.keys[0].key)
    stage.public_key = stage.folder / "provider.pem"
    stage.public_key.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def fill(stage: Stage) -> None:
    """Migrate, write 50 todos for each of 200 users, and copy all of it for the peers, without row-level security."""
    urls = {
        "TODOS_MIGRATION_DATABASE_URL": stage.postgres.owner_url(),
        "TODOS_DATABASE_URL": stage.postgres.app_url(),
    }
    stage.run("migration", [PROGRAMS / "todos", "migrate"], urls)
    with psycopg.connect(stage.postgres.superuser_url(), autocommit=True) as connection:
        write_todos(connection, USERS, TODOS_OF_A_USER)
        connection.execute("VACUUM ANALYZE")
    stage.postgres.create_database(PEERS_DATABASE, DATABASE)
    with psycopg.connect(stage.postgres.superuser_url(PEERS_DATABASE), autocommit=True) as connection:
        connection.execute("ALTER TABLE todo NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
        connection.execute("VACUUM ANALYZE")


def write_todos(connection: psycopg.Connection, users: Sequence[str], each: int) -> None:
    """Write `each` todos for every one of `users`, as a superuser: row-level security does not hold him."""
    connection.execute(
        """
        INSERT INTO todo (user_id, id, title, description, completed, completed_at, priority, tags, due_at, timezone,
                          "order", created_at, updated_at, version)
        SELECT u, gen_random_uuid(), 'Todo ' || n, 'What there is to say about it', n %% 3 = 0,
               CASE WHEN n %% 3 = 0 THEN now() END, n %% 5,
               CASE WHEN n %% 2 = 0 THEN ARRAY['home', 'food'] ELSE '{}' END,
               CASE WHEN n %% 2 = 0 THEN now() + n * interval '1 hour' END, 'UTC', n, now() - n * interval '1 minute',
               now(), 1700000000000 + n
        FROM unnest(%s::text[]) u, generate_series(1, %s::integer) n
        """,
        (list(users), each),
    )
    connection.execute(
        "INSERT INTO user_state (user_id, seq, live_count, purged_seq)"
        " SELECT u, 1700000000000 + %s::integer, %s::integer, 1700000000000 FROM unnest(%s::text[]) u",
        (each, each, list(users)),
    )


def _answered(port: int, question: bytes) -> Callable[[], bool]:
    return lambda: status(port, question) in range(200, 300)


def _nginx(port: int, folder: Path) -> str:
    # one process without a master: it ends with whoever started it
    return f"""
        daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
        events {{ worker_connections 1024; }}
        http {{
            access_log off; default_type application/json;
            keepalive_requests 1000000000; keepalive_timeout 3600;
            client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            server {{ listen {LOOPBACK}:{port}; location / {{ return 200 '{_ANSWER}'; }} }}
        }}
    """
