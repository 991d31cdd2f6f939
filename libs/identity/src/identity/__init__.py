"""The signed user header: an HTTP Message Signature (RFC 9421) over user, request and body digest."""

from identity.keys import Keyring, parse_key
from identity.signing import sign
from identity.verifying import Identity, IdentityRefusedError, verify

__all__ = ["Identity", "IdentityRefusedError", "Keyring", "parse_key", "sign", "verify"]
