"""What the gateway reads from clients, proxies and providers, held to what it promises."""

import base64
import json
import re
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_to_bytes

from gateway.auth_errors import AuthenticationError
from gateway.keys.jwks import parse_jwks
from gateway.metrics import Metrics
from gateway.proxies import UNKNOWN, TrustedProxies
from gateway.request_checks import check_path
from gateway.token import bearer, claims
from gateway.token.claims import Rules
from gateway.token.user_ids import UserIds
from runtime.problems import ProblemError
from strict_http.errors import RejectedError
from strict_http.request_head import read_request_line
from tests.fuzz.json_oracle import short_integer

NOW = 1_800_000_000
RULES = Rules(frozenset({"todos"}), "sub", UserIds(), {}, max_lifetime=86_400, leeway=30)
USER_ID = re.compile(r"[\x21-\x7e]{1,512}")
TRUSTED = "10.0.0.0/8"
PROXIES = TrustedProxies([ip_network(TRUSTED)], Metrics())


def path(data: bytes) -> None:
    """A request target whose path passes names the same resource however often it is decoded."""
    try:
        read = read_request_line(b"GET " + data + b" HTTP/1.1\r\n")
        check_path(read.path)
    except (RejectedError, ProblemError):
        return
    segments = read.path.split(b"/")
    decoded = [unquote_to_bytes(segment) for segment in segments]
    assert segments[0] == b""
    assert all(decoded[1:-1])
    assert not {b".", b".."} & set(decoded)
    assert not any(sign in segment for segment in decoded for sign in (b"/", b"\\", b"\0", b"%"))


def token(data: bytes) -> None:
    """The lines of `data` are header, claims and signature; what is accepted has one reading."""
    segments = [_base64url(line) for line in data.split(b"\n")]
    for text in (b".".join(segments), data):
        try:
            parts = bearer.parse(bearer.read_token(b"Bearer " + text))
        except AuthenticationError:
            continue
        assert b".".join(_base64url(base64.urlsafe_b64decode(segment + b"==")) for segment in text.split(b".")) == text
        header, read_claims = (base64.urlsafe_b64decode(segment + b"==") for segment in text.split(b".")[:2])
        assert json.loads(header)["alg"] == parts.algorithm
        assert json.loads(read_claims, parse_int=short_integer) == parts.claims
        assert parts.signing_input + b"." + _base64url(parts.signature) == text
        _claims(parts)


def _base64url(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def _claims(parts: bearer.Parts) -> None:
    try:
        found = claims.check(parts.claims, parts.type, RULES, NOW)
    except AuthenticationError:
        return
    named = parts.claims.get("aud", parts.claims.get("azp", parts.claims.get("client_id")))
    assert "todos" in (named if isinstance(named, list) else [named])
    assert USER_ID.fullmatch(found.user_id)
    assert found.expires + RULES.leeway > NOW
    assert found.expires <= max(found.issued or NOW, NOW + RULES.leeway) + RULES.max_lifetime
    assert not {"events", "cnf"} & parts.claims.keys()


def key_set(data: bytes) -> None:
    """Whatever a provider sends, a set has keys for signatures alone."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        keys = parse_jwks(document)
    except ValueError:
        return
    assert keys
    assert len(keys.kids) <= len(document["keys"])
    for kid in keys.kids:
        for algorithm in ("none", "HS256", "HS512", "RSA-OAEP", "ECDH-ES"):
            assert keys.find(kid, algorithm) is None


def forwarded(data: bytes) -> None:
    """Nothing that a client prepends changes who it is; the client is never a trusted proxy if another is named."""
    if {0, 10, 13} & set(data):
        return
    for name in (b"x-forwarded-for", b"forwarded"):
        client = PROXIES.client("10.0.0.1", "http", [(name, data)])
        assert client.scheme in {"http", "https"}
        if client.address == UNKNOWN or ip_address(client.address) in ip_network(TRUSTED):
            continue
        prepended = PROXIES.client("10.0.0.1", "http", [(name, b"for=198.51.100.7, " + data)])
        assert prepended.address == client.address
