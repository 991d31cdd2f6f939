"""The shared keys of gateway and todos."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from identity.mac import Mac

MINIMUM_BYTES = 32
_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Keyring(Mapping[str, Mac]):
    """HMAC keys by key id, in order: the first one signs, any of them verifies."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take `keys`, at least one.

        Raises:
            ValueError: there is no key, or as `parse_key`.
        """
        if not keys:
            raise ValueError("has no key")
        for kid, key in keys.items():
            _check(kid, key)
        self._keys = {kid: Mac(key) for kid, key in keys.items()}
        self.signing_kid, self.signing_key = next(iter(self._keys.items()))

    def __getitem__(self, kid: str) -> Mac:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"


def parse_key(text: str) -> tuple[str, bytes]:
    """Read `kid:base64url`, base64url (RFC 4648 section 5) with or without padding.

    Raises:
        ValueError: it is not of this form, the key id is not 1 to 64 of `A-Z a-z 0-9 . _ -`, or the key is shorter
            than 32 bytes. The message quotes neither: where they were swapped, the id is the secret.
    """
    kid, colon, encoded = text.partition(":")
    if not colon:
        raise ValueError("is not of the form kid:base64url")
    key = _decode(encoded)
    _check(kid, key)
    return kid, key


def _check(kid: str, key: bytes) -> None:
    if not _KID.fullmatch(kid):
        raise ValueError("has an id that is not 1 to 64 letters, digits, dots, underscores or hyphens")
    if len(key) < MINIMUM_BYTES:
        raise ValueError(f"has a key shorter than {MINIMUM_BYTES} bytes")


def _decode(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("has a key that is not base64url") from None
