"""Which keys of a set are taken, and which of them a token means."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x25519
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import OKPAlgorithm

from devtools.testing.tokens import Signer, encode, rsa_key
from gateway.keys.jwks import Key, KeySet, parse_jwks

GOOD = Signer()
OTHER = Signer(private=rsa_key(1))
P256 = Signer("k1", "ES256", ec.generate_private_key(ec.SECP256R1()))
P384 = Signer("k1", "ES384", ec.generate_private_key(ec.SECP384R1()))
P521 = Signer("k1", "ES512", ec.generate_private_key(ec.SECP521R1()))
EDWARDS = Signer("k1", "EdDSA", ed25519.Ed25519PrivateKey.generate())
ALL_RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
SECP256K1 = ec.generate_private_key(ec.SECP256K1()).public_key().public_numbers()
ED448: dict[str, Any] = OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True)
X25519 = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()


def found(keys: KeySet, kid: str | None = "k1") -> set[str]:
    """The algorithms for which a token with this key id has a key."""
    return {name for name in {*ALL_RSA, "ES256", "ES384", "ES512", "EdDSA"} if keys.find(kid, name)}


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (GOOD.jwk(), {"RS256"}),
        (GOOD.jwk(alg=None), ALL_RSA),
        (GOOD.jwk(use=None, key_ops=["verify"]), {"RS256"}),
        (P256.jwk(), {"ES256"}),
        (P384.jwk(), {"ES384"}),
        (P521.jwk(), {"ES512"}),
        (P384.jwk(alg=None), {"ES384"}),
        (EDWARDS.jwk(), {"EdDSA"}),
        (EDWARDS.jwk(alg="Ed25519"), {"EdDSA"}),
        (GOOD.jwk() | {"use": None, "key_ops": None, "alg": None, "x5c": None, "d": None}, ALL_RSA),
    ],
)
def test_a_fit_key_is_taken_for_the_algorithms_it_fits(jwk: dict[str, Any], algorithms: set[str]) -> None:
    """RFC 7517 section 4, RFC 7518 section 3.4 for the curves, RFC 9864 section 2.2 for `Ed25519`; null is absent."""
    assert found(parse_jwks({"keys": [jwk]})) == algorithms


UNFIT = {
    "private": GOOD.jwk(d="AQAB"),
    "symmetric": {"kty": "oct", "kid": "k1", "k": "AAAA"},
    "for encryption": GOOD.jwk(use="enc"),
    "for signing alone": GOOD.jwk(key_ops=["sign"]),
    "with operations that are no list": GOOD.jwk(key_ops="verify"),
    "of 1024 bits": Signer(private=rsa_key(0, 1024)).jwk(),
    "with e = 3": Signer(private=rsa_key(0, 2048, 3)).jwk(),
    "with e = 1": GOOD.jwk(e="AQ"),
    "with another family's algorithm": GOOD.jwk(alg="ES256"),
    "with another curve's algorithm": P384.jwk(alg="ES256"),
    "with an algorithm for encryption": GOOD.jwk(alg="RSA-OAEP"),
    "with an algorithm that is no string": GOOD.jwk(alg=["RS256"]),
    "with a symmetric algorithm": GOOD.jwk(alg="HS256"),
    "with a modulus that is no base64": GOOD.jwk(n="***"),
    "without a modulus": GOOD.jwk(n=None),
    "with a kid that is no string": GOOD.jwk(kid=1),
    "of a curve for coins": {
        "kty": "EC",
        "kid": "k1",
        "crv": "secp256k1",
        "x": encode(SECP256K1.x.to_bytes(32)),
        "y": encode(SECP256K1.y.to_bytes(32)),
    },
    "with a point that is not on its curve": P384.jwk(y=P384.jwk()["x"]),
    "with a point of another curve": P384.jwk(crv="P-256"),
    "of another Edwards curve": {**ED448, "kid": "k1"},
    "of another Edwards curve by the name of Ed25519": {**ED448, "kid": "k1", "alg": "Ed25519"},
    "for key agreement": {"kty": "OKP", "crv": "X25519", "kid": "k1", "x": encode(X25519)},
    "of an unknown type": GOOD.jwk(kty="AKP"),
    "of a type that is no string": GOOD.jwk(kty=["RSA"]),
}


@pytest.mark.parametrize("jwk", UNFIT.values(), ids=UNFIT.keys())
def test_an_unfit_key_is_passed_over_and_alone_makes_no_set(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no usable key"):
        parse_jwks({"keys": [jwk]})
    assert parse_jwks({"keys": [jwk, GOOD.jwk(kid="good")]}).kids == {"good"}


@pytest.mark.parametrize("jwk", UNFIT.values(), ids=UNFIT.keys())
def test_an_unfit_key_does_not_stand_in_the_way_of_a_good_one_with_its_kid(jwk: dict[str, Any]) -> None:
    """RFC 7517 section 4.5: `kid` need not be unique over keys of different use or type."""
    keys = parse_jwks({"keys": [jwk, GOOD.jwk()]})
    assert keys.find("k1", "RS256") == parse_jwks({"keys": [GOOD.jwk()]}).find("k1", "RS256")


def test_two_keys_with_one_kid_for_one_algorithm_serve_neither() -> None:
    with pytest.raises(ValueError, match="no usable key"):
        parse_jwks({"keys": [GOOD.jwk(), OTHER.jwk()]})
    keys = parse_jwks({"keys": [GOOD.jwk(), OTHER.jwk(), GOOD.jwk(kid="k2"), P256.jwk()]})
    assert keys.find("k1", "RS256") is None
    assert keys.is_ambiguous("k1", "RS256")
    assert found(keys) == {"ES256"}
    assert found(keys, "k2") == {"RS256"}


def test_an_equal_key_with_the_same_kid_counts_once() -> None:
    keys = parse_jwks({"keys": [GOOD.jwk(), GOOD.jwk(use=None), GOOD.jwk(alg=None)]})
    assert found(keys) == ALL_RSA
    assert found(keys, None) == ALL_RSA


def test_keys_with_one_kid_are_told_apart_by_the_tokens_algorithm() -> None:
    keys = parse_jwks({"keys": [GOOD.jwk(), OTHER.jwk(alg="PS256"), P256.jwk(), P384.jwk(), EDWARDS.jwk()]})
    assert found(keys) == {"RS256", "PS256", "ES256", "ES384", "EdDSA"}
    assert keys.find("k1", "RS256") == parse_jwks({"keys": [GOOD.jwk()]}).find("k1", "RS256")
    assert keys.find("k1", "PS256") == parse_jwks({"keys": [OTHER.jwk(alg="PS256")]}).find("k1", "PS256")


def test_a_key_that_names_no_algorithm_stands_in_the_way_of_one_with_its_kid_that_does() -> None:
    keys = parse_jwks({"keys": [GOOD.jwk(), OTHER.jwk(alg=None)]})
    assert found(keys) == ALL_RSA - {"RS256"}
    assert not keys.is_ambiguous("k1", "PS256")
    assert not keys.is_ambiguous("k1", "ES256")


def test_without_a_kid_the_one_key_that_fits_is_meant() -> None:
    """RFC 7515 section 4.1.4: a token need not name its key; a key need not have a name either."""
    keys = parse_jwks({"keys": [GOOD.jwk(kid=None), P256.jwk(kid="k2"), P384.jwk() | {"kid": None}]})
    assert found(keys, None) == {"RS256", "ES256", "ES384"}
    assert found(keys, "k1") == set()
    assert keys.kids == {None, "k2"}
    assert found(parse_jwks({"keys": [GOOD.jwk(kid=None), OTHER.jwk(), P256.jwk()]}), None) == {"ES256"}


@pytest.mark.parametrize(
    ("jwks", "words"),
    [
        (None, "not a JWK Set"),
        ([], "not a JWK Set"),
        ("x", "not a JWK Set"),
        ({}, "not a JWK Set"),
        ({"keys": {}}, "not a JWK Set"),
        ({"keys": [GOOD.jwk()] * 65}, "too many keys"),
        ({"keys": []}, "no usable key"),
    ],
)
def test_what_is_no_set_of_bounded_size_is_refused(jwks: object, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        parse_jwks(jwks)


def test_a_set_may_have_64_keys() -> None:
    assert found(parse_jwks({"keys": [GOOD.jwk()] * 64})) == {"RS256"}


SIGNERS = [GOOD, OTHER, P256, P384, EDWARDS]
jwk_sets = st.lists(
    st.builds(
        lambda signer, kid, named: signer.jwk(kid=kid, alg=signer.algorithm if named else None),
        st.sampled_from(SIGNERS),
        st.sampled_from([None, "k1", "k2"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@given(jwk_sets, st.sampled_from([None, "k1", "k2"]), st.sampled_from(["RS256", "PS256", "ES256", "ES384", "EdDSA"]))
def test_a_token_has_a_key_exactly_where_all_keys_that_could_be_meant_are_the_same(
    jwks: list[dict[str, Any]], kid: str | None, algorithm: str
) -> None:
    candidates = []
    for jwk in jwks:
        key = parse_jwks({"keys": [jwk | {"kid": "it"}]}).find("it", algorithm)
        if key is not None and kid in (None, jwk.get("kid")):
            candidates.append(key.public)
    try:
        chosen: Key | None = parse_jwks({"keys": jwks}).find(kid, algorithm)
    except ValueError:
        chosen = None
    if candidates and all(public == candidates[0] for public in candidates):
        assert chosen is not None
        assert chosen.public == candidates[0]
    else:
        assert chosen is None
