"""Wrong settings stop the gateway before it starts, all at once and without a secret."""

import json
from pathlib import Path

import pytest
from gateway_harness import IDENTITY_KEYS

from devtools.testing.tokens import Signer
from gateway.settings import ServeSettings
from gateway.token.user_ids import UserIds
from runtime.settings import load

GOOD = {
    "GATEWAY_ISSUER": "https://id.example.com",
    "GATEWAY_AUDIENCE": "todos",
    "GATEWAY_UPSTREAM_URL": "http://todos:8001",
    "GATEWAY_IDENTITY_KEYS": IDENTITY_KEYS,
}


def loaded(monkeypatch: pytest.MonkeyPatch, **changes: str) -> ServeSettings:
    for name, value in {**GOOD, **changes}.items():
        monkeypatch.setenv(name, value)
    return load(ServeSettings)


def faults(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **changes: str) -> list[str]:
    with pytest.raises(SystemExit) as stopped:
        loaded(monkeypatch, **changes)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_the_defaults_are_those_of_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert (settings.host, settings.port, settings.admin_port) == ("0.0.0.0", 8000, 9000)
    [issuer] = settings.trusted_issuers
    assert (issuer.algorithms, issuer.user_claim, issuer.user_prefix) == (["RS256"], "sub", "")
    limits = [f"{policy.name}={policy.limit}/{policy.window}s" for policy in settings.rate_limits.values()]
    assert limits == ["user=600/60s", "user-write=120/60s", "auth-failure=30/60s"]
    assert (settings.max_body_bytes, settings.max_buffered_bytes, settings.max_in_flight) == (1 << 20, 128 << 20, 512)
    assert (settings.upstream_timeout, settings.drain_seconds, settings.keepalive_seconds) == (10, 5, 75)
    assert (settings.token_types, settings.required_claims) == (["JWT", "at+jwt", ""], {})
    assert (settings.leeway, settings.max_token_bytes) == (10, 16 * 1024)
    assert (settings.on_redis_failure, settings.replicas_hint, settings.token_max_lifetime) == ("local", 1, 86400)


def test_a_share_is_a_part_of_the_whole_and_holds_the_largest_body(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    too_much = {
        "GATEWAY_MAX_IN_FLIGHT_PER_USER": "513",
        "GATEWAY_MAX_BUFFERED_BYTES_PER_USER": str((128 << 20) + 1),
    }
    assert faults(monkeypatch, capsys, **too_much) == [
        "GATEWAY_MAX_BUFFERED_BYTES_PER_USER: is more than GATEWAY_MAX_BUFFERED_BYTES, of which it is a part",
        "GATEWAY_MAX_IN_FLIGHT_PER_USER: is more than GATEWAY_MAX_IN_FLIGHT, of which it is a part",
    ]


@pytest.mark.parametrize(
    ("share", "changes"),
    [
        (5 * (1 << 20) - 1, {"GATEWAY_MAX_BUFFERED_BYTES_PER_USER": str(5 * (1 << 20) - 1)}),
        (5 * (1 << 20) - 1, {"GATEWAY_MAX_BUFFERED_BYTES": str(40 * (1 << 20) - 1)}),
    ],
)
def test_a_share_of_the_buffer_that_is_too_small_for_an_import_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], share: int, changes: dict[str, str]
) -> None:
    (told,) = faults(monkeypatch, capsys, **changes)
    assert told == (
        f"GATEWAY_MAX_BUFFERED_BYTES_PER_USER: is {share}, by default an eighth of GATEWAY_MAX_BUFFERED_BYTES; "
        "an import may have 5242880 bytes, 5 times GATEWAY_MAX_BODY_BYTES, and must fit"
    )


def test_a_share_may_be_the_whole_or_just_hold_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {"GATEWAY_MAX_IN_FLIGHT_PER_USER": "512", "GATEWAY_MAX_BUFFERED_BYTES_PER_USER": str(128 << 20)}
    assert loaded(monkeypatch, **whole).max_in_flight_per_user == 512
    least = {"GATEWAY_MAX_BUFFERED_BYTES": str(5 << 20), "GATEWAY_MAX_BUFFERED_BYTES_PER_USER": str(5 << 20)}
    assert loaded(monkeypatch, **least).max_buffered_bytes_per_user == 5 << 20


def test_lists_are_read_by_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, GATEWAY_AUDIENCE="todos, https://api", GATEWAY_ALGORITHMS="RS256,EdDSA")
    assert (settings.audience, settings.algorithms) == (["todos", "https://api"], ["RS256", "EdDSA"])


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000", "https://app.example.com", "https://[::1]:8443", "https://xn--bcher-kva.example",
        "capacitor://localhost", "tauri://localhost", "ionic://localhost", "app://obsidian.md",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "moz-extension://5b1e7d0c-1111-4222-8333-444455556666",
    ],
)  # fmt: skip
def test_an_origin_is_taken_as_a_browser_writes_it(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    assert loaded(monkeypatch, GATEWAY_CORS_ORIGINS=origin).cors_origins == [origin]


def test_everything_missing_is_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = faults(monkeypatch, capsys, **dict.fromkeys(GOOD, ""))
    assert {line.partition(":")[0] for line in told} == set(GOOD)
    assert all("is required" in line for line in told)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_ALGORITHMS", ","),
        ("GATEWAY_AUDIENCE", ","),
        ("GATEWAY_ISSUER", "not a URL"),
        ("GATEWAY_ISSUER", "https://[id.example.com"),
        ("GATEWAY_JWKS_FILE", "/nowhere/jwks.json"),
        ("GATEWAY_REQUIRED_CLAIMS", "token_use=access"),
        ("GATEWAY_REQUIRED_CLAIMS", '["token_use"]'),
        ("GATEWAY_LEEWAY", "-1"),
        ("GATEWAY_LEEWAY", "301"),
        ("GATEWAY_MAX_TOKEN_BYTES", "24577"),
        ("GATEWAY_MAX_TOKEN_BYTES", "1023"),
        ("GATEWAY_EXPLAIN_REFUSALS", "sometimes"),
        ("GATEWAY_ISSUERS", "[]"),
        ("GATEWAY_ISSUERS", "{}"),
        ("GATEWAY_ISSUERS", '[{"issuer": "https://id.example.com"'),
        ("GATEWAY_ISSUERS", "[" * 100_000),
        ("GATEWAY_PORT", "70000"),
        ("GATEWAY_UPSTREAM_URL", "ftp://todos"),
        ("GATEWAY_UPSTREAM_URL", "http://todos:8001/base"),
        ("GATEWAY_UPSTREAM_URL", "http://user@todos:8001"),
        ("GATEWAY_PUBLIC_URL", "https://api.example.com/?a=1"),
        ("GATEWAY_REDIS_URL", "http://redis"),
        ("GATEWAY_REDIS_URL", "redis://redis:port"),
        ("GATEWAY_REDIS_URL", "redis://[::1"),
        ("GATEWAY_REDIS_URL", "redis://redis?socket_timeout=long"),
        ("GATEWAY_REDIS_URL", "redis://redis?nonsense=1"),
        ("GATEWAY_IDENTITY_KEYS", ","),
        ("GATEWAY_ON_REDIS_FAILURE", "maybe"),
        ("GATEWAY_REPLICAS_HINT", "0"),
        ("GATEWAY_MAX_BODY_BYTES", "0"),
        ("GATEWAY_LOG_LEVEL", "loud"),
        ("GATEWAY_DRAIN_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_is_reported_by_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    [line] = faults(monkeypatch, capsys, **{name: value})
    assert line.startswith(f"{name}: ")


KEY = "A" * 43


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("GATEWAY_ALGORITHMS", "HS256", [1]),
        ("GATEWAY_ALGORITHMS", "RS256,none,HS256", [2, 3]),
        ("GATEWAY_TOKEN_TYPES", "JWT,at jwt,application/,,Application/AT+JWT,text/jwt,\u212a+jwt", [2, 3, 6, 7]),
        ("GATEWAY_CORS_ORIGINS", "https://app.example.com,*,null", [2, 3]),
        ("GATEWAY_CORS_ORIGINS", "https://app.example.com/,https://*.example.com,https://App.example.com", [1, 2, 3]),
        ("GATEWAY_CORS_ORIGINS", "https://app.example.com:443,http://localhost:80,capacitor:localhost", [1, 2, 3]),
        ("GATEWAY_CORS_ORIGINS", "file://,app://x,https://user@app.example.com", [1, 3]),
        ("GATEWAY_CORS_HEADERS", "*,X-App,X-App Version,X-App\r\nSet-Cookie", [1, 3, 4]),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8,proxy,10.0.0.1/8", [2, 3]),
        ("GATEWAY_REQUIRED_SCOPES", 'todos:read,write=todos:write,read="', [1, 3]),
        ("GATEWAY_REQUIRED_SCOPES", "read=a,read=b", [2]),
        ("GATEWAY_RATE_LIMITS", "user=many,user-write=1/1s,other=1/1s,user=0/1s,user-write=1/1s", [1, 3, 4, 5]),
        ("GATEWAY_RATE_LIMITS", "user=60000001/60s", [1]),
        ("GATEWAY_IDENTITY_KEYS", f"k1:{KEY},{KEY}:k2,{KEY},k3:c2hvcnQ,k 4:{KEY},k1:{KEY},k5:***", [2, 3, 4, 5, 6, 7]),
    ],
)
def test_every_wrong_entry_of_a_list_is_reported_by_its_position_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, wrong: list[int]
) -> None:
    lines = faults(monkeypatch, capsys, **{name: value})
    assert [line.partition(":")[0] for line in lines] == [f"entry {position} of {name}" for position in wrong]
    entries = value.split(",")
    assert [position for position in wrong for line in lines if entries[position - 1] in line.partition(": ")[2]] == []


def test_a_required_claim_is_a_string_a_whole_number_or_a_boolean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {"token_use": "access", "tier": 1, "email_verified": True}
    assert loaded(monkeypatch, GATEWAY_REQUIRED_CLAIMS=json.dumps(good)).required_claims == good
    wrong = {"list": ["todos"], "fraction": 1.5, "null": None, "object": {}}
    lines = faults(monkeypatch, capsys, GATEWAY_REQUIRED_CLAIMS=json.dumps({**good, **wrong}))
    assert [line.partition(":")[0] for line in lines] == [f"{name} of GATEWAY_REQUIRED_CLAIMS" for name in wrong]


@pytest.mark.parametrize(
    "change",
    [{"GATEWAY_ISSUER": "http://id.example.com"}, {"GATEWAY_JWKS_URL": "http://id.example.com/jwks"}],
)
def test_keys_come_over_https_unless_http_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: dict[str, str]
) -> None:
    [told] = faults(monkeypatch, capsys, **change)
    assert "GATEWAY_ALLOW_HTTP_JWKS" in told
    assert loaded(monkeypatch, **change, GATEWAY_ALLOW_HTTP_JWKS="true").allow_http_jwks


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "c2VjcmV0"
    told = faults(
        monkeypatch, capsys, GATEWAY_IDENTITY_KEYS=f"k1:{secret}", GATEWAY_REDIS_URL=f"rdis://:{secret}@redis"
    )
    assert len(told) == 2
    assert all(secret not in line for line in told)
    [told_of_redis] = faults(monkeypatch, capsys, GATEWAY_REDIS_URL=f"redis://:{secret}@redis:{secret}")
    assert secret not in told_of_redis
    settings = loaded(monkeypatch, GATEWAY_IDENTITY_KEYS=IDENTITY_KEYS, GATEWAY_REDIS_URL=f"redis://:{secret}@redis")
    assert secret not in repr(settings)
    assert "AAAA" not in repr(settings)


ONE = {"issuer": "https://one.example", "audience": "todos", "user_prefix": "one|"}
OTHER = {"issuer": "https://other.example", "audience": ["todos", "api"], "user_prefix": "other|"}


def with_issuers(monkeypatch: pytest.MonkeyPatch, issuers: object, **changes: str) -> ServeSettings:
    for name in ("GATEWAY_ISSUER", "GATEWAY_AUDIENCE"):
        monkeypatch.setenv(name, "")
    environment = {"GATEWAY_ISSUER": "", "GATEWAY_AUDIENCE": "", "GATEWAY_ISSUERS": json.dumps(issuers), **changes}
    return loaded(monkeypatch, **environment)


def test_several_issuers_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**OTHER, "algorithms": "ES256,EdDSA", "jwks_url": "https://keys.example/jwks", "user_claim": "user_id"}
    one, second = with_issuers(monkeypatch, [ONE, other]).trusted_issuers
    assert (one.audience, one.algorithms, one.user_claim) == (["todos"], ["RS256"], "sub")
    assert (second.audience, second.algorithms, second.user_claim) == (["todos", "api"], ["ES256", "EdDSA"], "user_id")
    assert second.keys_origin == "https://keys.example/jwks"


def test_one_issuer_may_do_without_a_prefix_and_reserves_those_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    first = {**ONE, "user_prefix": "", "names": ["https://old.example"]}
    third = {"issuer": "https://third.example", "audience": "todos", "user_prefix": "third|"}
    settings = with_issuers(monkeypatch, [first, OTHER, third])
    one, other, _ = settings.trusted_issuers
    assert settings.user_ids(one) == UserIds("", ("other|", "third|"))
    assert settings.user_ids(other) == UserIds("other|")
    assert one.all_names == {"https://one.example", "https://old.example"}


@pytest.mark.parametrize(
    ("issuers", "places"),
    [
        ([{**ONE, "user_prefix": ""}, {**OTHER, "user_prefix": ""}], ["entry 2"]),
        ([ONE, {**OTHER, "names": ["https://one.example"]}], ["entry 2"]),
        ([{**ONE, "names": ["https://other.example"]}, OTHER], ["entry 2"]),
        ([{**ONE, "names": ["https://a"]}, {**OTHER, "names": ["https://b", "https://a"]}], ["entry 2"]),
        ([{**ONE, "names": [""]}], ["entry 1 of names of entry 1"]),
        ([{**ONE, "token_types": "JWT,a b"}], ["entry 2 of token_types of entry 1"]),
        ([{**ONE, "token_types": []}], ["token_types of entry 1"]),
        ([ONE, {**OTHER, "user_prefix": "one|x"}], ["entry 2"]),
        ([{**ONE, "user_prefix": "one|x"}, {**OTHER, "user_prefix": "one|"}], ["entry 2"]),
        ([ONE, {**OTHER, "user_prefix": "one|"}], ["entry 2"]),
        ([ONE, {**ONE, "user_prefix": "other|"}], ["entry 2"]),
        ([{**ONE, "issuer": "http://one.example"}, {**OTHER, "issuer": "other"}], ["entry 1", "entry 2"]),
        ([ONE, {**OTHER, "algorithms": "RS256,HS256"}], ["entry 2 of algorithms of entry 2"]),
        ([{**ONE, "audiance": "todos"}, {**OTHER, "audience": []}], ["audiance of entry 1", "audience of entry 2"]),
        ([{"issuer": "https://one.example"}], ["audience of entry 1"]),
    ],
)
def test_issuers_whose_users_could_collide_or_that_are_wrong_are_refused_each_by_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], issuers: object, places: list[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        with_issuers(monkeypatch, issuers)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"{place} of GATEWAY_ISSUERS" for place in places]


def test_issuers_and_a_single_issuer_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = faults(monkeypatch, capsys, GATEWAY_ISSUERS=json.dumps([ONE]))
    assert {line.partition(":")[0] for line in told} == {"GATEWAY_ISSUER", "GATEWAY_AUDIENCE"}


def test_a_file_of_keys_is_admitted_as_the_providers_would_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def told_of(document: object) -> str:
        path = tmp_path / "jwks.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        [told] = faults(monkeypatch, capsys, GATEWAY_JWKS_FILE=str(path))
        return told

    good = {"keys": [Signer().jwk()]}
    assert "is not JSON" in told_of("{")
    assert "{issuer: jwks}" in told_of([])
    of_file = "of GATEWAY_JWKS_FILE: "
    assert told_of({"https://id.example.com": {"keys": []}}) == f"https://id.example.com {of_file}no usable key"
    assert told_of({"https://evil.example": good}) == f"https://evil.example {of_file}is not a trusted issuer"
    (tmp_path / "jwks.json").write_text(json.dumps({"https://id.example.com": good}))
    settings = loaded(monkeypatch, GATEWAY_JWKS_FILE=str(tmp_path / "jwks.json"))
    assert settings.jwks_file["https://id.example.com"].kids == {"k1"}
