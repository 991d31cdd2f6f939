"""The development identity provider, over a real socket."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from devtools.processes import Child, free_port, wait_until


@contextmanager
def running(log: Path, *arguments: str) -> Iterator[str]:
    port = free_port()
    child = Child("idp", [sys.executable, "-m", "devtools.idp", "--port", str(port), *arguments], log)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/jwks.json").is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, child, 30)
        assert "FOR DEVELOPMENT ONLY" in log.read_text()
        yield url
    finally:
        child.stop()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("idp") / "log") as url:
        yield url


def key_set(issuer: str) -> jwt.PyJWKSet:
    discovered = httpx.get(f"{issuer}/.well-known/openid-configuration").json()
    assert discovered["issuer"] == issuer
    return jwt.PyJWKSet.from_dict(httpx.get(discovered["jwks_uri"]).json())


def issue(issuer: str, **fields: Any) -> str:
    answer = httpx.post(f"{issuer}/token", json=fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def claims(issuer: str, token: str) -> dict[str, Any]:
    key = key_set(issuer)[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["RS256"], audience="todos", issuer=issuer)


def unverified(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_verifies_against_the_key_set_it_was_discovered_with(issuer: str) -> None:
    held = claims(issuer, issue(issuer, sub="alice", ttl=60, scope="todos:read"))
    assert (held["sub"], held["scope"], held["exp"] - held["iat"]) == ("alice", "todos:read", 60)


def test_a_form_is_as_good_as_json(issuer: str) -> None:
    answer = httpx.post(f"{issuer}/token", data={"sub": "bob", "ttl": "90"}).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 90)
    assert claims(issuer, answer["access_token"])["sub"] == "bob"


def test_expired_tokens_can_be_made(issuer: str) -> None:
    token = issue(issuer, sub="alice", ttl=-60)
    held = unverified(token)
    assert held["iat"] < held["exp"] < time.time()
    with pytest.raises(jwt.ExpiredSignatureError):
        claims(issuer, token)


def test_claims_are_laid_over_the_rest_and_null_removes_one(issuer: str) -> None:
    held = unverified(issue(issuer, sub="alice", claims={"aud": ["a", "b"], "exp": None, "sub": None, "user_id": 7}))
    assert (held["aud"], held["user_id"]) == (["a", "b"], 7)
    assert not {"exp", "sub"} & held.keys()


def test_keys_say_what_they_are_for_and_how_long_to_keep_them(issuer: str) -> None:
    answer = httpx.get(f"{issuer}/jwks.json")
    assert "max-age=300" in answer.headers["cache-control"]
    for key in answer.json()["keys"]:
        assert key.keys() == {"kid", "use", "alg", "kty", "n", "e"}
        assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")


def test_after_a_rotation_old_tokens_verify_until_their_key_is_dropped(issuer: str) -> None:
    old = issue(issuer, sub="alice")
    httpx.post(f"{issuer}/rotate").raise_for_status()
    new = issue(issuer, sub="alice")
    assert claims(issuer, old)["sub"] == claims(issuer, new)["sub"] == "alice"
    kids = httpx.post(f"{issuer}/rotate", json={"drop": True}).json()["kids"]
    assert kids == [jwt.get_unverified_header(new)["kid"]]
    assert claims(issuer, new)
    with pytest.raises(KeyError):
        claims(issuer, old)


def test_with_a_key_file_tokens_verify_after_a_restart_and_rotations_last(tmp_path: Path) -> None:
    arguments = ("--issuer", "http://idp.invalid", "--keys", str(tmp_path / "keys.json"))
    with running(tmp_path / "log", *arguments) as url:
        token = issue(url, sub="alice")
        httpx.post(f"{url}/rotate").raise_for_status()
        kids = [key["kid"] for key in httpx.get(f"{url}/jwks.json").json()["keys"]]
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    with running(tmp_path / "log", *arguments) as url:
        keys = jwt.PyJWKSet.from_dict(httpx.get(f"{url}/jwks.json").json())
        assert [key.key_id for key in keys.keys] == kids
        key = keys[jwt.get_unverified_header(token)["kid"]]
        assert jwt.decode(token, key, algorithms=["RS256"], audience="todos")["sub"] == "alice"


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"", "application/json", "sub: Field required"),
        (b"{", "application/json", "not JSON"),
        (b"[]", "application/json", "body: "),
        (b'{"sub": "a", "tll": 1}', "application/json", "tll: "),
        (b'{"sub": "a", "claims": {"iss": 1}}', "application/json", "iss"),
        (b"sub=a&sub=b", "application/x-www-form-urlencoded", "sub is given more than once"),
        (b"sub=a&ttl=soon", "application/x-www-form-urlencoded", "ttl: "),
        (b"sub=a", "text/plain", "application/json"),
    ],
)
def test_a_faulty_request_is_told_what_is_wrong(issuer: str, body: bytes, content_type: str, words: str) -> None:
    answer = httpx.post(f"{issuer}/token", content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert words in answer.json()["error_description"]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_it_listens_on_loopback_alone(issuer: str) -> None:
    port = int(issuer.rpartition(":")[2])
    tables = [Path("/proc/net", name) for name in ("tcp", "tcp6")]
    sockets = "".join(table.read_text() for table in tables if table.exists())
    assert set(re.findall(rf"([0-9A-F]+):{port:04X} [0-9A-F]+:0000 0A", sockets)) == {"0100007F"}


def test_it_tells_its_options() -> None:
    shown = subprocess.run([sys.executable, "-m", "devtools.idp", "--help"], capture_output=True, text=True, check=True)
    assert "FOR DEVELOPMENT ONLY" in shown.stdout


def test_it_goes_by_the_issuer_that_it_is_given(tmp_path: Path) -> None:
    given = "http://idp.invalid:8080"
    with running(tmp_path / "log", "--issuer", given) as url:
        discovered = httpx.get(f"{url}/.well-known/openid-configuration").json()
        assert (discovered["issuer"], discovered["jwks_uri"]) == (given, f"{given}/jwks.json")
        assert unverified(issue(url, sub="alice"))["iss"] == given
