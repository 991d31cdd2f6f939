"""None but the original: whatever is changed in a token, it stops verifying."""

import asyncio
import base64
import json
from typing import Any, cast

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from devtools.testing.tokens import Signer, encode, good_claims
from gateway.auth_errors import AuthenticationError, invalid_token
from gateway.keys.jwks import Key, parse_jwks
from gateway.keys.jwks_cache import JwksCache
from gateway.token.bearer import parse, read_token
from gateway.token.claims import Rules
from gateway.token.user_ids import UserIds
from gateway.token.verifier import TokenVerifier, TrustedIssuer

ISSUER = "https://id.example.com"
SIGNER = Signer()
TOKEN = SIGNER.token(good_claims(ISSUER)).encode()
HEADER, CLAIMS, SIGNATURE = TOKEN.split(b".")


class FixedKeys:
    """A set of keys that never changes."""

    def __init__(self) -> None:
        self._keys = parse_jwks({"keys": [SIGNER.jwk()]})
        self.kids = self._keys.kids

    def held(self, kid: str | None, algorithm: str) -> Key | None:
        return self._keys.find(kid, algorithm)

    async def key(self, kid: str, algorithm: str) -> Key:
        key = self.held(kid, algorithm)
        if key is None:
            raise invalid_token("unknown_key")
        return key

    async def fetch_for_signature(self, _signature: bytes) -> None:
        """There is nothing newer."""


def verifies(token: bytes) -> bool:
    keys = cast(JwksCache, FixedKeys())
    rules = Rules(frozenset({"todos"}), "sub", UserIds(), {}, max_lifetime=86400, leeway=10)
    types = frozenset({"jwt", "at+jwt", None})
    issuer = TrustedIssuer(frozenset({ISSUER}), frozenset({"RS256"}), types, keys, rules)
    try:
        return asyncio.run(TokenVerifier([issuer], 16384).verify(read_token(b"Bearer " + token))).user_id == "alice"
    except AuthenticationError:
        return False


def decoded(part: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + b"=="))
    return document


def test_claims_that_are_nested_beyond_what_can_be_read_are_malformed() -> None:
    claims = encode(b"[" * 100_000 + b"]" * 100_000).encode()
    with pytest.raises(AuthenticationError) as refusal:
        parse(b".".join([HEADER, claims, SIGNATURE]))
    assert refusal.value.reason == "malformed"


def test_the_original_verifies() -> None:
    assert verifies(TOKEN)


@given(st.integers(0, len(TOKEN) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_no_token_with_other_bytes_verifies(position: int, inserted: bytes, dropped: int) -> None:
    mutated = TOKEN[:position] + inserted + TOKEN[position + dropped :]
    assume(mutated.lstrip(b" ") != TOKEN)
    assert not verifies(mutated)


json_values = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)


@given(
    st.sampled_from(["header", "claims"]),
    st.sampled_from(["alg", "kid", "typ", "sub", "iss", "exp", "new"]),
    json_values,
)
def test_no_token_with_another_member_verifies(part: str, member: str, value: object) -> None:
    header, claims = decoded(HEADER), decoded(CLAIMS)
    changed = header if part == "header" else claims
    assume(member not in changed or changed[member] != value)
    changed[member] = value
    parts = (encode(json.dumps(document, separators=(",", ":")).encode()).encode() for document in (header, claims))
    assert not verifies(b".".join([*parts, SIGNATURE]))


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("addition", [b"=", b"==", b"A", b"\n", b"\t", b"%3D", b"."])
@pytest.mark.parametrize("before", [True, False])
def test_no_other_spelling_of_its_base64_verifies(part: int, addition: bytes, before: bool) -> None:  # noqa: FBT001
    parts = [HEADER, CLAIMS, SIGNATURE]
    parts[part] = addition + parts[part] if before else parts[part] + addition
    assert not verifies(b".".join(parts))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_token_with_loose_trailing_bits_verifies(part: int) -> None:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    parts = [HEADER, CLAIMS, SIGNATURE]
    for letter in alphabet:
        spelled = parts[part][:-1] + bytes([letter])
        if spelled != parts[part]:
            assert not verifies(b".".join([*parts[:part], spelled, *parts[part + 1 :]]))
