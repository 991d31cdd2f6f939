"""Where a page ended: opaque to clients, and good for one user, sort and set of filters."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from datetime import datetime
from typing import NamedTuple

from runtime.identifiers import is_canonical_uuid
from todos.domain.fields import INT32, PRIORITIES
from todos.store.list_statements import Sort, SortField, SortKey

_ENCODED = re.compile(r"[A-Za-z0-9_-]{1,4000}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?")
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_MAX_TITLE = 1000
"""In characters; lower case may be longer than the title itself."""


class Position(NamedTuple):
    """The last row of a page; the next one begins after it."""

    key: SortKey
    id: str


def binding(user_id: str, sort: Sort, filters: object) -> str:
    """What a cursor is good for, in 128 bits; `filters` is anything that JSON can say."""
    text = json.dumps([user_id, sort.field, sort.descending, filters])
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=")


def encode(position: Position, bound_to: str) -> str:
    """The cursor after `position`, in characters that need no escaping in a URL."""
    key = position.key.isoformat() if isinstance(position.key, datetime) else position.key
    text = _json([bound_to, key, position.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str, bound_to: str, field: SortField) -> Position:
    """Read a cursor back.

    Raises:
        ValueError: it was not made by `encode` with the same `bound_to`, or was changed since.
    """
    if not _ENCODED.fullmatch(text):
        raise ValueError("is not a cursor")
    try:
        document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
        given_binding, given_key, given_id = document
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise ValueError("is not a cursor") from None
    if not isinstance(given_binding, str) or not hmac.compare_digest(given_binding.encode(), bound_to.encode()):
        raise ValueError("is not a cursor")
    key = _read_key(given_key, field)
    if not isinstance(given_id, str) or not is_canonical_uuid(given_id):
        raise ValueError("is not a cursor")
    if encode(Position(key, given_id), bound_to) != text:
        raise ValueError("is not a cursor")
    return Position(key, given_id)


def _read_key(given: object, field: SortField) -> SortKey:
    match field, given:
        case "due_date", None:
            return None
        case "created_at" | "updated_at" | "due_date", str() if _MOMENT.fullmatch(given):
            return datetime.fromisoformat(given)
        case "title", str() if len(given) <= _MAX_TITLE and "\0" not in given:
            return given
        case "priority", int() if type(given) is int and given in range(len(PRIORITIES)):
            return given
        case "order", int() if type(given) is int and given in INT32:
            return given
    raise ValueError("is not a cursor")
