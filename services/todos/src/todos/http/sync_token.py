"""`since`: how far a client has followed the changes, opaque to it, and valid for one user."""

from typing import TypeIs

from todos.http import opaque_token
from todos.http.opaque_token import NotOursError
from todos.store.sync_position import SyncPosition

_LARGEST = 2**63 - 1
_MAX_LENGTH = 200


def encode(position: SyncPosition, user_id: str) -> str:
    """In characters that need no escaping in a URL."""
    return opaque_token.encode(_binding(user_id), *position)


def decode(text: str, user_id: str) -> SyncPosition | None:
    """Read it back; None where it was made for another user.

    Raises:
        NotOursError: it was not made by `encode`.
    """
    bound_to, number, began = opaque_token.decode(text, count=3, longest=_MAX_LENGTH)
    if not isinstance(bound_to, str) or not _is_number(number) or not (began is None or _is_number(began)):
        raise NotOursError
    return SyncPosition(number, began) if bound_to == _binding(user_id) else None


def _binding(user_id: str) -> str:
    return opaque_token.binding(b"changes " + user_id.encode())


def _is_number(value: object) -> TypeIs[int]:
    return type(value) is int and 0 <= value <= _LARGEST
