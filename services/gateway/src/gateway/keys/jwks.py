"""Which keys of a JWK Set are accepted, and which of them a token names (RFC 7517, RFC 8725 section 3.5)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

MAX_KEYS = 64
_RSA_BITS = range(2048, 8192 + 1)
_RSA_EXPONENT = 65537
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_ALGORITHMS = {SECP256R1: "ES256", SECP384R1: "ES384", SECP521R1: "ES512"}
_EDWARDS = "EdDSA"
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_READERS: dict[object, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_VERIFIERS: dict[str, Algorithm] = {
    name: algorithm
    for name, algorithm in get_default_algorithms().items()
    if name in {*_RSA_ALGORITHMS, *_CURVE_ALGORITHMS.values(), _EDWARDS}
}

type PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


def canonical(algorithm: str) -> str:
    """One name for each algorithm: `Ed25519` (RFC 9864) is `EdDSA` (RFC 8037), for which no other curve is accepted."""
    return _EDWARDS if algorithm == "Ed25519" else algorithm


@dataclass(frozen=True)
class Key:
    """A public key and the canonical names of the algorithms that it may verify."""

    public: PublicKey
    algorithms: frozenset[str]

    def verifies(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `signing_input` (RFC 7515 section 5.2)."""
        return _VERIFIERS[algorithm].verify(signing_input, self.public, signature)


@dataclass(frozen=True)
class KeySet:
    """The usable keys of a JWK Set, by what the header of a token says."""

    kids: frozenset[str | None] = frozenset()
    """The ids of the keys; None where a key has no id."""
    _keys: Mapping[tuple[str | None, str], Key | None] = field(default_factory=dict)
    """By key id (None: any id) and algorithm; None where several keys fit."""

    @classmethod
    def of(cls, keys: Iterable[tuple[str | None, Key]]) -> "KeySet":
        """From pairs of key id and key. Equal keys count once."""
        kids: set[str | None] = set()
        found: dict[tuple[str | None, str], Key | None] = {}
        for kid, key in keys:
            kids.add(kid)
            for name in {(given, algorithm) for given in (kid, None) for algorithm in key.algorithms}:
                held = found.setdefault(name, key)
                if held is not None and held.public != key.public:
                    found[name] = None
        return cls(frozenset(kids), found)

    def __bool__(self) -> bool:
        return any(self._keys.values())

    @property
    def algorithms(self) -> frozenset[str]:
        """The canonical names of the algorithms that a token under these keys may have."""
        return frozenset(algorithm for (_, algorithm), key in self._keys.items() if key)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The one key with this id that fits the algorithm, or the one that fits where the token has no key id."""
        return self._keys.get((kid, algorithm))

    def is_ambiguous(self, kid: str | None, algorithm: str) -> bool:
        """Whether several different keys with this id fit the algorithm."""
        return self._keys.get((kid, algorithm), ...) is None

    def keeping(self, earlier: "KeySet") -> "KeySet":
        """The same set, with the objects of the earlier one for keys that are unchanged."""
        kept = {
            name: held if key is not None and (held := earlier.find(*name)) == key else key
            for name, key in self._keys.items()
        }
        return KeySet(self.kids, kept)


def parse_jwks(jwks: object) -> KeySet:
    """The usable keys of a JWK Set.

    Accepted are public RSA keys of 2048 to 8192 bits with the exponent 65537, P-256, P-384, P-521 and Ed25519, for
    signatures. Other keys are skipped. A member that is null counts as absent.

    Raises:
        ValueError: this is not a JWK Set, or has more than 64 keys, or no usable one.
    """
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list):
        raise ValueError("not a JWK Set")  # noqa: TRY004 - bad data, not a caller's mistake
    if len(members) > MAX_KEYS:
        raise ValueError("too many keys")
    keys = KeySet.of(usable for jwk in members if isinstance(jwk, dict) and (usable := _parse_jwk(jwk)))
    if not keys:
        raise ValueError("no usable key")
    return keys


def _parse_jwk(given: Mapping[str, object]) -> tuple[str | None, Key] | None:
    jwk = {name: value for name, value in given.items() if value is not None}
    kid, operations = jwk.get("kid"), jwk.get("key_ops", ["verify"])
    if (
        not isinstance(kid, str | None)
        or not _PRIVATE_MEMBERS.isdisjoint(jwk)
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
        public = reader.from_jwk(jwk)
    except (PyJWTError, ValueError, TypeError, KeyError, ArithmeticError):
        return None
    algorithms = _fitting_algorithms(public)
    if "alg" in jwk:
        algorithms &= {canonical(jwk["alg"])} if isinstance(jwk["alg"], str) else frozenset()
    return (kid, Key(public, algorithms)) if algorithms else None


def _fitting_algorithms(public: object) -> frozenset[str]:
    match public:
        case RSAPublicKey() if public.key_size in _RSA_BITS and public.public_numbers().e == _RSA_EXPONENT:
            return _RSA_ALGORITHMS
        case EllipticCurvePublicKey() if type(public.curve) in _CURVE_ALGORITHMS:
            return frozenset({_CURVE_ALGORITHMS[type(public.curve)]})
        case Ed25519PublicKey():
            return frozenset({_EDWARDS})
        case _:
            return frozenset()
