"""The shared keys of gateway and todos."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Self

from identity.mac import Mac

MINIMUM_BYTES = 32
_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Keyring(Mapping[str, Mac]):
    """HMAC keys by key id, in order: the first one signs, any of them verifies."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take `keys`, at least one.

        Raises:
            ValueError: there is no key, a key id is not 1 to 64 of `A-Z a-z 0-9 . _ -`, or a key is shorter
                than 32 bytes. The message never holds key material.
        """
        if not keys:
            raise ValueError("no key")
        # report the position, not the id: if id and key were swapped, the id is the secret
        for position, (kid, key) in enumerate(keys.items(), start=1):
            if not _KID.fullmatch(kid):
                raise ValueError(
                    f"the id of entry {position} is not 1 to 64 letters, digits, dots, underscores, hyphens"
                )
            if len(key) < MINIMUM_BYTES:
                raise ValueError(f"the key of entry {position} is shorter than {MINIMUM_BYTES} bytes")
        self._keys = {kid: Mac(key) for kid, key in keys.items()}
        self.signing_kid, self.signing_key = next(iter(self._keys.items()))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `kid:base64url[,kid:base64url…]`, base64url (RFC 4648 section 5) with or without padding.

        Raises:
            ValueError: as for the constructor, or an entry has no colon, is not base64url, or repeats a key
                id. The message never holds key material.
        """
        keys: dict[str, bytes] = {}
        for position, entry in enumerate(text.split(","), start=1):
            kid, colon, encoded = entry.strip().partition(":")
            if not colon:
                raise ValueError(f"entry {position} is not kid:base64url")
            if kid in keys:
                raise ValueError(f"entry {position} repeats a key id")
            keys[kid] = _decode(encoded.rstrip("="), position)
        return cls(keys)

    def __getitem__(self, kid: str) -> Mac:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"


def _decode(encoded: str, position: int) -> bytes:
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the key of entry {position} is not base64url") from None
