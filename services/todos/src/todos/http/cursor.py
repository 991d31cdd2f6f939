"""Cursors: where a page ended, opaque to clients, and valid for one user, sort and set of filters."""

import hmac
import json
import re
from datetime import datetime
from typing import NamedTuple

from runtime.identifiers import is_canonical_uuid
from todos.domain.fields import INT32, PRIORITIES
from todos.http import opaque_token
from todos.http.opaque_token import NotOursError
from todos.store.list_statements import Sort, SortField, SortKey

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?")
_MAX_LENGTH = 4000
_MAX_TITLE = 1000
"""In characters; lower case may be longer than the title itself."""


class Position(NamedTuple):
    """The last row of a page; the next one begins after it."""

    key: SortKey
    id: str


def binding(user_id: str, sort: Sort, filters: object) -> str:
    """What a cursor is valid for; `filters` is any JSON value."""
    return opaque_token.binding(json.dumps([user_id, sort.field, sort.descending, filters]).encode())


def encode(position: Position, bound_to: str) -> str:
    """The cursor after `position`, in characters that need no escaping in a URL."""
    key = position.key.isoformat() if isinstance(position.key, datetime) else position.key
    return opaque_token.encode(bound_to, key, position.id)


def decode(text: str, bound_to: str, field: SortField) -> Position:
    """Read a cursor back.

    Raises:
        NotOursError: it was not made by `encode` with the same `bound_to`, or was changed since.
    """
    given_binding, given_key, given_id = opaque_token.decode(text, count=3, longest=_MAX_LENGTH)
    if not isinstance(given_binding, str) or not hmac.compare_digest(given_binding.encode(), bound_to.encode()):
        raise NotOursError
    if not isinstance(given_id, str) or not is_canonical_uuid(given_id):
        raise NotOursError
    try:
        position = Position(_read_key(given_key, field), given_id)
    except ValueError:  # no such day or hour
        raise NotOursError from None
    if encode(position, bound_to) != text:
        raise NotOursError
    return position


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
    raise NotOursError
