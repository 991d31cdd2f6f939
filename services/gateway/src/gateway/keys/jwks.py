"""Which keys of a JWK Set are accepted (RFC 7517, RFC 8725 section 3.5)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

MAX_KEYS = 64
_RSA_BITS = range(2048, 8192 + 1)
_RSA_EXPONENT = 65537
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_READERS: dict[object, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_VERIFIERS: dict[str, Algorithm] = {
    name: algorithm
    for name, algorithm in get_default_algorithms().items()
    if name in _RSA_ALGORITHMS | {"ES256", "EdDSA"}
}

type PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True)
class Key:
    """A public key and the algorithms that it may verify."""

    public: PublicKey
    algorithms: frozenset[str]

    def verifies(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `signing_input` (RFC 7515 section 5.2)."""
        return _VERIFIERS[algorithm].verify(signing_input, self.public, signature)


def parse_jwks(jwks: object) -> dict[str, Key]:
    """The usable keys of a JWK Set by key id.

    Accepted are public RSA keys of 2048 to 8192 bits with the exponent 65537, P-256 and Ed25519, for
    signatures, with a key id that occurs once. Other keys are skipped.

    Raises:
        ValueError: this is not a JWK Set, or has more than 64 keys, or no usable one.
    """
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list):
        raise ValueError("not a JWK Set")  # noqa: TRY004 - bad data, not a caller's mistake
    if len(members) > MAX_KEYS:
        raise ValueError("too many keys")
    jwk_objects = [jwk for jwk in members if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str)]
    occurrences = Counter(jwk["kid"] for jwk in jwk_objects)
    keys = {jwk["kid"]: key for jwk in jwk_objects if occurrences[jwk["kid"]] == 1 and (key := _parse_jwk(jwk))}
    if not keys:
        raise ValueError("no usable key")
    return keys


def _parse_jwk(jwk: Mapping[str, object]) -> Key | None:
    operations = jwk.get("key_ops", ["verify"])
    if (
        not _PRIVATE_MEMBERS.isdisjoint(jwk)
        or jwk.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    kind = jwk.get("kty")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        return None
    try:
        public = reader.from_jwk(dict(jwk))
    except (PyJWTError, ValueError, TypeError, KeyError, ArithmeticError):
        return None
    algorithms = _fitting_algorithms(public)
    if "alg" in jwk:
        algorithms = algorithms & {jwk["alg"]} if isinstance(jwk["alg"], str) else frozenset()
    return Key(public, algorithms) if algorithms else None


def _fitting_algorithms(public: object) -> frozenset[str]:
    match public:
        case RSAPublicKey() if public.key_size in _RSA_BITS and public.public_numbers().e == _RSA_EXPONENT:
            return _RSA_ALGORITHMS
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            return frozenset({"ES256"})
        case Ed25519PublicKey():
            return frozenset({"EdDSA"})
        case _:
            return frozenset()
