"""Keys and tokens, good and bad, made by hand so that every rule can be broken alone."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

type PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def encode(data: bytes) -> str:
    """Unpadded base64url (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_json(document: object) -> str:
    return encode(json.dumps(document, separators=(",", ":")).encode())


@cache
def rsa_key(_number: int = 0, bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """A key made once in this process for each argument list; the number distinguishes keys of one size."""
    return rsa.generate_private_key(exponent, bits)


@dataclass
class Signer:
    """A provider's key under its id."""

    kid: str = "k1"
    algorithm: str = "RS256"
    private: PrivateKey = field(default_factory=rsa_key)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key as a JWK (RFC 7517); a change to None takes the member away."""
        reader: Any = {"RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}[
            self.algorithm[:2]
        ]
        members = reader.to_jwk(self.private.public_key(), as_dict=True)
        members = {name: members[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in members}
        members |= {"kid": self.kid, "use": "sig", "alg": self.algorithm, **changes}
        return {name: value for name, value in members.items() if value is not None}

    def sign(self, signing_input: str) -> str:
        algorithm: Algorithm = get_default_algorithms()[self.algorithm]
        return encode(algorithm.sign(signing_input.encode(), self.private))

    def token(self, claims: dict[str, Any], **header: Any) -> str:
        """A JWT with exactly these claims; a header member set to None is left out."""
        members = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **header}
        members = {name: value for name, value in members.items() if value is not None}
        signing_input = f"{encode_json(members)}.{encode_json(claims)}"
        return f"{signing_input}.{self.sign(signing_input)}"

    def hs256_with_public_key(self, claims: dict[str, Any]) -> str:
        """The classic forgery: the public key taken for an HMAC secret."""
        pem = self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        signing_input = f"{encode_json({'alg': 'HS256', 'kid': self.kid, 'typ': 'JWT'})}.{encode_json(claims)}"
        return f"{signing_input}.{encode(hmac.digest(pem, signing_input.encode(), hashlib.sha256))}"


def good_claims(issuer: str, **changes: Any) -> dict[str, Any]:
    """Claims that pass; a change to None takes the claim away."""
    now = int(time.time())
    claims = {"iss": issuer, "aud": "todos", "sub": "alice", "iat": now, "exp": now + 3600, **changes}
    return {name: value for name, value in claims.items() if value is not None}
