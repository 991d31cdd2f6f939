"""How far a client has followed the changes: opaque to it, and good for one user."""

import base64
import binascii
import hashlib
import json
import re
from typing import NamedTuple

_ENCODED = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LARGEST = 2**63 - 1


class Since(NamedTuple):
    """Everything up to `number` was told; while a first sync goes on, also where the numbers were as it began.

    Up to there a first sync is told of live todos alone: its client holds nothing that could have been deleted.
    """

    number: int
    began: int | None = None

    @property
    def needs(self) -> int:
        """The number after which no tombstone may be missing."""
        return max(self.number, self.began or 0)


BEGINNING = Since(0)
"""Of a client that holds nothing."""


def encode(since: Since, user_id: str) -> str:
    """In characters that need no escaping in a URL."""
    return _encoded(since, _binding(user_id))


def decode(text: str, user_id: str) -> Since | None:
    """Read it back; None where it was made for another user.

    Raises:
        ValueError: it was not made by `encode`.
    """
    if not _ENCODED.fullmatch(text):
        raise ValueError("is not one of this API's")
    try:
        bound_to, number, began = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise ValueError("is not one of this API's") from None
    if not isinstance(bound_to, str) or not _is_number(number) or not (began is None or _is_number(began)):
        raise ValueError("is not one of this API's")
    since = Since(number, began)
    if _encoded(since, bound_to) != text:
        raise ValueError("is not one of this API's")
    return since if bound_to == _binding(user_id) else None


def _encoded(since: Since, bound_to: str) -> str:
    text = json.dumps([bound_to, *since], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _binding(user_id: str) -> str:
    digest = hashlib.sha256(b"changes " + user_id.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST
