"""JSON lines on standard output."""

import asyncio
import hashlib
import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from json.encoder import encode_basestring as _quoted
from typing import TypedDict, Unpack, override

BATCH_SECONDS = 0.1
"""How long a request's line may wait, to be written together with others."""


class Fields(TypedDict, total=False):
    """The names of all fields that a line may have beside those of `JsonFormatter`; one name for one thing."""

    admin_port: int
    auth_failure: str
    code: str
    duration_ms: float
    host: str
    issuer: str
    keys: int
    method: str
    port: int
    python: str
    reason: str
    request_id: str
    revocations: int
    route: str
    seconds: float
    sqlstate: str | None
    status: int
    upstream_ms: float
    user: str
    version: str


def fields(**values: Unpack[Fields]) -> dict[str, Fields]:
    """For `extra=` of a logging call."""
    return {"fields": values}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: `time`, `level`, `service`, `logger`, `message`, and the record's `fields`.

    Of an exception the type and the frames are logged. Its text is left out: it may quote a row, a query or a
    token.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["exception"] = _describe(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


class _Output:
    """Standard output: held lines are written as a batch, or before the next line that is not held."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def hold(self, line: str) -> None:
        if not self._held:
            asyncio.get_running_loop().call_later(BATCH_SECONDS, self.flush)
        self._held.append(line)

    def flush(self, line: str = "") -> None:
        held, self._held = self._held, []
        if held or line:
            sys.stdout.write("".join([*held, line]))
            sys.stdout.flush()


_OUTPUT = _Output()
flush = _OUTPUT.flush
"""Write the lines that are held; for the end of a process."""


class _OutputHandler(logging.Handler):
    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            _OUTPUT.flush(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - as every handler: a full disk must not end a request
            self.handleError(record)


class RequestLog:
    """One line for each request, in the form that `JsonFormatter` gives a record, at a third of its cost."""

    def __init__(self, service: str, logger: logging.Logger) -> None:
        self._logger = logger
        self._start = f'"level": "info", "service": "{service}", "logger": "{logger.name}", "message": "request"'

    def write(
        self,
        *,
        request_id: str,
        method: str,
        route: str,
        status: int,
        duration_ms: float,
        upstream_ms: float | None = None,
        user: str | None = None,
        auth_failure: str | None = None,
    ) -> None:
        """Log at level `info`; what is None is left out."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = (
            f'{{"time": "{now}", {self._start}, "request_id": {_quoted(request_id)}, "method": {_quoted(method)}, '
            f'"route": {_quoted(route)}, "status": {status:d}, "duration_ms": {duration_ms:.3f}'
        )
        if upstream_ms is not None:
            line += f', "upstream_ms": {upstream_ms:.3f}'
        if user is not None:
            line += f', "user": {_quoted(user)}'
        if auth_failure is not None:
            line += f', "auth_failure": {_quoted(auth_failure)}'
        _OUTPUT.hold(line + "}\n")


def _describe(error: BaseException) -> list[str]:
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return [*frames, type(error).__qualname__]


def configure(service: str, level: str) -> None:
    """Send every record from `level` up to standard output."""
    handler = _OutputHandler()
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "httpx", "httpcore", "psycopg", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def pseudonym(user_id: str) -> str:
    """The user in logs: the first 16 hex digits of the SHA-256, the same each time."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]
