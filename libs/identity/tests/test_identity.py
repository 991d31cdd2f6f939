"""The signature proves one user for one request, and an independent library agrees."""

import base64
import hmac
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms
from hypothesis import given
from hypothesis import strategies as st

from identity import Identity, IdentityRefusedError, Keyring, parse_key, sign
from identity import verify as verify_head

KEYS = Keyring({"k2": b"b" * 32, "k1": b"a" * 32})
NOW = 1_800_000_000
REQUEST: dict[str, Any] = {
    "method": "POST",
    "path": b"/v1/todos",
    "query": b"a=1&b=%20",
    "body": b'{"title":"x"}',
}

visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
user_ids = st.text(visible, min_size=1, max_size=512).map(str.encode)
request_ids = st.text(visible, min_size=1, max_size=255).map(str.encode)
targets = st.text(st.sampled_from("abcXYZ019-._~/%:@!$&()*+,;="), max_size=60).map(str.encode)


def signed(**changes: Any) -> list[tuple[bytes, bytes]]:
    arguments: dict[str, Any] = {
        "user_id": b"alice",
        "request_id": b"0192f7c0-1",
        "now": NOW,
        **REQUEST,
        **changes,
    }
    return sign(KEYS, **arguments)


def verify(keys: Keyring, *, body: bytes, now: float, **head: Any) -> Identity:
    """Of a request that is there as a whole."""
    identity = verify_head(keys, now=now, **head)
    identity.check_body(body, now)
    return identity


def reason_of(headers: list[tuple[bytes, bytes]], keys: Keyring = KEYS, now: float = NOW, **changes: Any) -> str:
    with pytest.raises(IdentityRefusedError) as refused:
        verify(keys, headers=headers, now=now, **{**REQUEST, **changes})
    return refused.value.reason


def replaced(headers: list[tuple[bytes, bytes]], name: bytes, old: bytes, new: bytes) -> list[tuple[bytes, bytes]]:
    changed = [(n, v.replace(old, new) if n == name else v) for n, v in headers]
    assert changed != headers
    return changed


def test_a_signed_request_proves_its_user() -> None:
    proven = verify(KEYS, headers=[(b"host", b"x"), *signed()], now=NOW, **REQUEST)
    assert (proven.user_id, proven.request_id, proven.expires) == ("alice", "0192f7c0-1", NOW + 30)


def test_the_headers_are_those_of_the_design() -> None:
    headers = dict(signed())
    assert list(headers) == [
        b"x-user-id",
        b"x-request-id",
        b"content-digest",
        b"signature-input",
        b"signature",
    ]
    assert headers[b"signature-input"] == (
        b'gateway=("@method" "@path" "@query" "x-user-id" "x-request-id" "content-digest")'
        b';created=1800000000;expires=1800000030;keyid="k2";alg="hmac-sha256";tag="todos"'
    )
    assert b"content-digest" not in dict(signed(body=b""))


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    path=targets.map(lambda t: b"/" + t),
    query=targets,
    user_id=user_ids,
    request_id=request_ids,
    body=st.binary(max_size=200),
)
def test_whatever_is_signed_verifies(
    method: str, path: bytes, query: bytes, user_id: bytes, request_id: bytes, body: bytes
) -> None:
    request: dict[str, Any] = {"method": method, "path": path, "query": query, "body": body}
    headers = sign(KEYS, user_id=user_id, request_id=request_id, now=NOW, **request)
    proven = verify(KEYS, headers=headers, now=NOW, **request)
    assert proven.user_id.encode() == user_id
    assert proven.request_id.encode() == request_id


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "PUT"}, "signature"),
        ({"path": b"/v1/todos/"}, "signature"),
        ({"query": b"a=1&b=+"}, "signature"),
        ({"query": b""}, "signature"),
        ({"body": b'{"title":"y"}'}, "digest"),
        ({"body": b""}, "malformed"),
    ],
)
def test_a_signature_holds_for_its_own_request_alone(changes: dict[str, Any], reason: str) -> None:
    assert reason_of(signed(), **changes) == reason


@pytest.mark.parametrize("name", [b"x-user-id", b"x-request-id"])
def test_another_user_or_request_id_is_refused(name: bytes) -> None:
    old = dict(signed())[name]
    assert reason_of(replaced(signed(), name, old, b"mallory")) == "signature"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"@method" "@path"', b'"@path" "@method"', "malformed"),
        (b' "x-user-id"', b"", "malformed"),
        (b'alg="hmac-sha256"', b'alg="hmac-sha512"', "malformed"),
        (b'tag="todos"', b'tag="other"', "malformed"),
        (b"gateway=", b"other=", "malformed"),
        (b'keyid="k2"', b'keyid="k9"', "unknown_key"),
        (b'keyid="k2"', b'keyid="k1"', "signature"),
        (b"expires=1800000030", b"expires=1800000029", "signature"),
        (b"expires=1800000030", b"expires=1900000000", "signature"),
        (b' "content-digest"', b"", "malformed"),
    ],
)
def test_altered_parameters_are_refused(old: bytes, new: bytes, reason: str) -> None:
    assert reason_of(replaced(signed(), b"signature-input", old, new)) == reason


@pytest.mark.parametrize("name", [b"x-user-id", b"x-request-id", b"signature-input", b"signature"])
def test_a_missing_header_is_refused(name: bytes) -> None:
    assert reason_of([field for field in signed() if field[0] != name]) == "missing"


@pytest.mark.parametrize("name", [b"x-user-id", b"x-request-id", b"content-digest", b"signature-input", b"signature"])
def test_a_repeated_header_is_refused(name: bytes) -> None:
    assert reason_of([*signed(), (name, dict(signed())[name])]) == "malformed"


def test_a_digest_without_a_body_is_refused() -> None:
    headers = [*signed(body=b""), (b"content-digest", dict(signed())[b"content-digest"])]
    assert reason_of(headers, body=b"") == "malformed"


def test_a_signature_lives_from_five_seconds_before_to_thirty_after() -> None:
    for now in (NOW - 5, NOW + 30):
        assert verify(KEYS, headers=signed(), now=now, **REQUEST).user_id == "alice"
    assert reason_of(signed(), now=NOW - 5.1) == "not_yet_valid"
    assert reason_of(signed(), now=NOW + 30.1) == "expired"


def test_a_proof_that_ends_while_the_body_is_on_its_way_is_refused() -> None:
    """Else a replay could be held back until its first use is forgotten."""
    head = {name: value for name, value in REQUEST.items() if name != "body"}
    identity = verify_head(KEYS, headers=signed(), now=NOW + 30, **head)
    identity.check_body(REQUEST["body"], NOW + 30)
    with pytest.raises(IdentityRefusedError) as refused:
        identity.check_body(REQUEST["body"], NOW + 30.1)
    assert refused.value.reason == "expired"


def test_a_key_holder_cannot_stretch_the_lifetime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("identity.message.LIFETIME_SECONDS", 31)
    headers = signed()
    monkeypatch.undo()
    assert reason_of(headers) == "malformed"


def test_a_signature_lives_for_a_second_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("identity.message.LIFETIME_SECONDS", 1)
    assert verify(KEYS, headers=signed(), now=NOW, **REQUEST).expires == NOW + 1
    monkeypatch.setattr("identity.message.LIFETIME_SECONDS", 0)
    headers = signed()
    monkeypatch.undo()
    assert reason_of(headers) == "malformed"


def test_the_proof_is_the_signature_itself_and_a_refusal_says_its_reason() -> None:
    signature = dict(signed())[b"signature"]
    proof = verify(KEYS, headers=signed(), now=NOW, **REQUEST).proof
    assert signature == b"gateway=:" + base64.b64encode(proof) + b":"
    assert str(IdentityRefusedError("expired")) == "expired"


def test_any_key_verifies_and_the_first_signs() -> None:
    old = Keyring({"k1": b"a" * 32})
    headers = sign(old, user_id=b"alice", request_id=b"1", now=NOW, **REQUEST)
    assert verify(KEYS, headers=headers, now=NOW, **REQUEST).user_id == "alice"
    assert reason_of(signed(), keys=old) == "unknown_key"


def test_a_user_id_beyond_512_of_visible_ascii_is_refused_though_signed() -> None:
    for user_id in (b"", b"al ice", b"al\xc3\xadce", b"a" * 513):
        assert reason_of(signed(user_id=user_id)) == "malformed"


@given(data=st.data())
def test_no_mutated_signature_verifies(data: st.DataObject) -> None:
    value = dict(signed())[b"signature"]
    position = data.draw(st.integers(0, len(value) - 1))
    byte = data.draw(st.integers(0, 255))
    mutated = value[:position] + bytes([byte]) + value[position + 1 :]
    if mutated == value:
        return
    headers = [(n, mutated if n == b"signature" else v) for n, v in signed()]
    assert reason_of(headers) in {"signature", "malformed"}


def test_no_other_spelling_of_a_signature_verifies() -> None:
    """The last letter of 32 bytes in base64 carries two bits that are not data (RFC 4648 section 3.5)."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value = dict(signed())[b"signature"]
    for letter in alphabet:
        spelled = value[:-3] + bytes([letter]) + value[-2:]
        if spelled != value:
            assert reason_of(replaced(signed(), b"signature", value, spelled)) == "signature"


class _Resolver(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> bytes:
        return {"k1": b"a" * 32, "k2": b"b" * 32}[key_id]

    resolve_private_key = resolve_public_key


@pytest.mark.parametrize("body", [b'{"title":"x"}', b""])
def test_an_independent_library_verifies_what_we_sign(body: bytes) -> None:
    headers = sign(KEYS, user_id=b"alice", request_id=b"1", now=int(time.time()), **{**REQUEST, "body": body})
    request = httpx.Request("POST", "http://todos/v1/todos?a=1&b=%20", headers=headers, content=body)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=_Resolver())
    results = verifier.verify(request, expect_tag="todos", max_age=timedelta(seconds=30))
    assert [result.label for result in results] == ["gateway"]
    assert '"x-user-id"' in results[0].covered_components


def test_the_digest_of_a_body_is_its_sha_256_in_base64() -> None:
    digest = dict(signed(body=b'{"hello": "world"}'))[b"content-digest"]
    assert digest == b"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


UNFIT_ID = "has an id that is not 1 to 64 letters, digits, dots, underscores or hyphens"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not of the form kid:base64url"),
        ("k1", "is not of the form kid:base64url"),
        ("k1:", "has a key shorter than 32 bytes"),
        ("k1:c2hvcnQ", "has a key shorter than 32 bytes"),
        (f"k1:{'A' * 42}", "has a key shorter than 32 bytes"),
        (f":{'A' * 43}", UNFIT_ID),
        (f"k 1:{'A' * 43}", UNFIT_ID),
        (f"{'k' * 65}:{'A' * 43}", UNFIT_ID),
        ("k1:***", "has a key that is not base64url"),
        (f"k1:{'A' * 43}!", "has a key that is not base64url"),
        (f"k1:={'A' * 43}", "has a key that is not base64url"),
        (f"k1:{'A' * 43}==", "has a key that is not base64url"),
        (f"k1:k2:{'A' * 43}", "has a key that is not base64url"),
    ],
)
def test_unfit_keys_are_refused_without_being_shown(text: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        parse_key(text)
    assert str(refused.value) == words


def test_a_key_in_the_place_of_its_id_is_not_shown() -> None:
    secret = "c2VjcmV0" * 6
    for text in (f"{secret}:k1", f"{secret}:", secret):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            parse_key(text)
        assert secret not in str(refused.value)


def test_a_keyring_takes_no_other_keys_than_those_that_can_be_read() -> None:
    faults: list[tuple[dict[str, bytes], str]] = [
        ({}, "has no key"),
        ({"k1": b"a" * 31}, "has a key shorter than 32 bytes"),
        ({"k 1": b"a" * 32}, UNFIT_ID),
    ]
    for keys, words in faults:
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            Keyring(keys)
        assert str(refused.value) == words


def test_keys_are_kept_in_order_and_read_padded_or_not() -> None:
    encoded = base64.urlsafe_b64encode(b"\xff" * 32).decode()
    keys = Keyring(dict(map(parse_key, (f"new:{encoded}", f"old:{'A' * 43}"))))
    assert (keys.signing_kid, list(keys)) == ("new", ["new", "old"])
    assert keys["new"].digest(b"") == hmac.digest(b"\xff" * 32, b"", "sha256")
    assert repr(keys) == "Keyring(new, old)"
