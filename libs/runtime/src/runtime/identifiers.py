"""Identifiers that sort by creation time (RFC 9562 section 5.7)."""

from uuid import UUID

import uuid_utils


def new_uuid() -> str:
    """A UUID version 7 in canonical form."""
    return str(uuid_utils.uuid7())


def is_canonical_uuid(text: str) -> bool:
    """Whether `text` is a UUID in lower case with hyphens, as RFC 9562 section 4 writes it."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
