"""How the user claim of a token becomes a user id, so that no two users share one."""

import base64
import re
from dataclasses import dataclass

MAX_CLAIM_BYTES = 255
_ENCODED = "=u8:"
_VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class UserIds:
    """The user ids of one issuer.

    Attributes:
        prefix: before every id; no prefix of an issuer begins with another's, unless it is empty.
        reserved: where the prefix is empty, those of all other issuers.
    """

    prefix: str = ""
    reserved: tuple[str, ...] = ()

    def of(self, name: str) -> str:
        """The id of the user that the issuer calls `name`: visible ASCII, at most 512 characters.

        A name of visible ASCII is the id as it stands. Any other, and one that begins as an encoded one does, is
        `=u8:` and the base64url of its UTF-8 without padding: names that look alike or have the same normal form stay
        apart.

        Raises:
            ValueError: the name is empty, longer than 255 bytes, no Unicode text, or begins with a reserved prefix.
        """
        try:
            octets = name.encode()
        except UnicodeEncodeError:
            raise ValueError("is not Unicode text") from None
        if not 0 < len(octets) <= MAX_CLAIM_BYTES:
            raise ValueError(f"is not 1 to {MAX_CLAIM_BYTES} bytes of UTF-8")
        plain = _VISIBLE.fullmatch(name) and not name.startswith(_ENCODED)
        user_id = self.prefix + (name if plain else _ENCODED + base64.urlsafe_b64encode(octets).decode().rstrip("="))
        if name.startswith(self.reserved) or user_id.startswith(self.reserved):
            raise ValueError("begins with the prefix of another issuer's users")
        return user_id
