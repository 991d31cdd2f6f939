"""Wrong settings stop the gateway before it starts, all at once and without a secret."""

import pytest
from gateway_harness import IDENTITY_KEYS

from gateway.settings import Settings
from runtime.settings import load

GOOD = {
    "GATEWAY_ISSUER": "https://id.example.com",
    "GATEWAY_AUDIENCE": "todos",
    "GATEWAY_UPSTREAM_URL": "http://todos:8001",
    "GATEWAY_IDENTITY_KEYS": IDENTITY_KEYS,
}


def loaded(monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
    for name, value in {**GOOD, **changes}.items():
        monkeypatch.setenv(name, value)
    return load(Settings)


def faults(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **changes: str) -> list[str]:
    with pytest.raises(SystemExit) as stopped:
        loaded(monkeypatch, **changes)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_the_defaults_are_those_of_the_design(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert (settings.host, settings.port, settings.admin_port) == ("0.0.0.0", 8000, 9000)
    assert settings.algorithms == ["RS256"]
    limits = [f"{policy.name}={policy.limit}/{policy.window}s" for policy in settings.rate_limits.values()]
    assert limits == ["user=600/60s", "user-write=120/60s", "auth-failure=30/60s"]
    assert (settings.max_body_bytes, settings.max_buffered_bytes, settings.max_in_flight) == (1 << 20, 128 << 20, 512)
    assert (settings.upstream_timeout, settings.drain_seconds, settings.keepalive_seconds) == (10, 5, 75)
    assert (settings.on_redis_failure, settings.replicas_hint, settings.token_max_lifetime) == ("local", 1, 86400)


def test_lists_are_read_by_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, GATEWAY_AUDIENCE="todos, https://api", GATEWAY_ALGORITHMS="RS256,EdDSA")
    assert (settings.audience, settings.algorithms) == (["todos", "https://api"], ["RS256", "EdDSA"])


def test_everything_missing_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = faults(monkeypatch, capsys, **dict.fromkeys(GOOD, ""))
    assert set(told) == {f"{name}: is required" for name in GOOD}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_ALGORITHMS", "HS256"),
        ("GATEWAY_ALGORITHMS", "none"),
        ("GATEWAY_ALGORITHMS", ","),
        ("GATEWAY_PORT", "70000"),
        ("GATEWAY_UPSTREAM_URL", "ftp://todos"),
        ("GATEWAY_UPSTREAM_URL", "http://todos:8001/base"),
        ("GATEWAY_UPSTREAM_URL", "http://user@todos:8001"),
        ("GATEWAY_PUBLIC_URL", "https://api.example.com/?a=1"),
        ("GATEWAY_REDIS_URL", "http://redis"),
        ("GATEWAY_RATE_LIMITS", "user=many"),
        ("GATEWAY_ON_REDIS_FAILURE", "maybe"),
        ("GATEWAY_REPLICAS_HINT", "0"),
        ("GATEWAY_MAX_BODY_BYTES", "0"),
        ("GATEWAY_LOG_LEVEL", "loud"),
        ("GATEWAY_DRAIN_SECONDS", "-1"),
    ],
)
def test_a_wrong_value_is_told_by_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    told = faults(monkeypatch, capsys, **{name: value})
    assert told
    assert all(line.startswith(name) for line in told)


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
    settings = loaded(monkeypatch, GATEWAY_IDENTITY_KEYS=IDENTITY_KEYS, GATEWAY_REDIS_URL=f"redis://:{secret}@redis")
    assert secret not in repr(settings)
    assert "AAAA" not in repr(settings)
