"""JSON lines on standard output."""

import hashlib
import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import override

LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """One JSON object a record: `time`, `level`, `service`, `logger`, `message`, and the record's `fields`.

    An exception is told by its type and its frames. Its text is left out: it may quote a row, a query or a
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


def _describe(error: BaseException) -> list[str]:
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return [*frames, type(error).__qualname__]


def configure(service: str, level: str) -> None:
    """Send every record of this process, from `level` up, to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "httpx", "httpcore", "psycopg", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def pseudonym(user_id: str) -> str:
    """The user in logs: the first 16 hex digits of SHA-256, equal for equal users."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]
