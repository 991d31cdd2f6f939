"""The text of cursors and sync tokens: a short JSON array, opaque to clients, each array in one spelling only."""

import base64
import hashlib
import json
import re

from runtime import strict_json

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_BINDING_BYTES = 16


class NotOursError(ValueError):
    """The text was not made by this API, or was changed since."""

    def __init__(self) -> None:
        super().__init__("is not one of this API's")


def encode(*parts: object) -> str:
    """In characters that need no escaping in a URL."""
    return _base64url(_to_json(parts).encode())


def decode(text: str, *, count: int, longest: int) -> list[object]:
    """Read the parts back, of which there are `count`.

    Raises:
        NotOursError: `encode` did not make it, or it has more than `longest` characters.
    """
    if len(text) > longest or not _BASE64URL.fullmatch(text):
        raise NotOursError
    try:
        parts = strict_json.parse(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise NotOursError from None
    if not isinstance(parts, list) or len(parts) != count or encode(*parts) != text:
        raise NotOursError
    return parts


def binding(subject: bytes) -> str:
    """A digest of what a token is valid for, 128 bits in 22 characters."""
    return _base64url(hashlib.sha256(subject).digest()[:_BINDING_BYTES])


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
