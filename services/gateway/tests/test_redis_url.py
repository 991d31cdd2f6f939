"""Everything in a Redis URL has an effect, or is a wrong setting that is named."""

import ssl
from pathlib import Path

import pytest
from redis_tls import self_signed

from gateway.limits.redis_url import RedisServer, parse_redis_url


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://h", RedisServer("h", 6379, 0)),
        ("redis://h/", RedisServer("h")),
        ("redis://H:1/12", RedisServer("h", 1, 12)),
        ("redis://[::1]:6380/0", RedisServer("::1", 6380)),
        ("redis://h?db=3&client_name=eu-1", RedisServer("h", database=3, client_name="eu-1")),
        ("redis://:p%40%2F%23@h", RedisServer("h", username="default", password="p@/#")),
        ("redis://al%3Aice:secret@h", RedisServer("h", username="al:ice", password="secret")),
        ("redis://alice@h", RedisServer("h", username="alice", password="")),
    ],
)
def test_the_parts_of_a_url_are_read(url: str, server: RedisServer) -> None:
    assert parse_redis_url(url) == server


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://h", "must start with redis:// or rediss://"),
        ("redis:h", "must start with redis:// or rediss://"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://:secret@", "names no host"),
        ("redis://h:x", "invalid host or port"),
        ("redis://h:99999", "invalid host or port"),
        ("redis://[::1", "invalid host or port"),
        ("redis://h:0", "port 0"),
        ("redis://a,b:6379,c", "invalid host or port"),
        ("redis://h/0#x", "fragment"),
        ("redis://h#", "fragment"),
        ("redis://h/0@x", "@ behind its host"),
        ("redis://h/x", "path that is not the number of a database"),
        ("redis://h/-1", "path that is not the number of a database"),
        ("redis://h/0/1", "path that is not the number of a database"),
        ("redis://h/0?db=0", "names the database twice"),
        ("redis://h?db=x", "db: "),
        ("redis://h?db=-1", "db: "),
        ("redis://h?db=1&db=1", "db twice"),
        ("redis://h?client_name=a%20b", "client_name: "),
        ("redis://h?client_name=", "client_name: "),
        ("redis://h?socket_timeout=1", "socket_timeout is not an option"),
        ("redis://h?db", "not written name=value"),
        ("redis://h?ssl_ca_certs=/x", "ssl_ca_certs is an option of rediss:// only"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs: "),
        ("rediss://h?ssl_check_hostname=maybe", "ssl_check_hostname: "),
        ("rediss://h?ssl_min_version=770", "ssl_min_version: "),
        ("rediss://h?ssl_ciphers=none-such", "ssl_ciphers: "),
        ("rediss://h?ssl_ca_certs=/none", "ssl_ca_certs, "),
        ("rediss://h?ssl_ca_data=x", "ssl_ca_data: "),
        ("rediss://h?ssl_certfile=/none", "ssl_certfile, "),
        ("rediss://h?ssl_keyfile=/none", "ssl_keyfile "),
        ("rediss://h?ssl_exclude_verify_flags=NONE_SUCH", "ssl_exclude_verify_flags: "),
    ],
)
def test_what_would_have_no_effect_is_refused_by_name(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault.replace("?", r"\?")):
        parse_redis_url(url)


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"db: .*; ssl_cert_reqs: .*; timeout is not an option"):
        parse_redis_url("rediss://h?db=x&ssl_cert_reqs=maybe&timeout=1")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:se/cret@h",
        "redis://:se?cret@h",
        "redis://:se#cret@h",
        "redis://user:1?cret=x@h",
        "redis://user:1?Cret-@h=x",
        "redis://:secret@h:se",
        "redis://:secret@h/se",
        "redis://:secret@h?cret-1=x",
        "redis://:secret@h?db=secret",
        "rediss://h?ssl_password=secret&ssl_certfile=/none",
    ],
)
def test_a_password_that_was_not_escaped_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - each has its own words
        parse_redis_url(url)
    assert "cret" not in str(refused.value).lower()


def test_a_server_shows_where_it_is_and_no_password() -> None:
    server = parse_redis_url("redis://alice:secret@[::1]:7")
    assert str(server.report("connection refused")) == "[::1]:7: connection refused"
    assert "secret" not in repr(server)
    assert "alice" not in repr(server)


def context_of(options: str) -> ssl.SSLContext:
    context = parse_redis_url(f"rediss://h?{options}").tls
    assert context is not None
    return context


def test_a_certificate_is_required_unless_the_url_says_otherwise(tmp_path: Path) -> None:
    by_default = context_of("ssl_min_version=771")
    assert (by_default.verify_mode, by_default.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context_of("ssl_check_hostname=false").check_hostname is False
    lax = context_of("ssl_cert_reqs=none")
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)
    assert context_of("ssl_cert_reqs=optional").verify_mode == ssl.CERT_OPTIONAL


def test_each_option_of_tls_reaches_openssl(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    trusted = context_of("ssl_check_hostname=true").cert_store_stats()["x509"]
    assert context_of(f"ssl_ca_certs={certificate}").cert_store_stats()["x509"] == trusted + 1
    pem = certificate.read_text()[: certificate.read_text().index("-----BEGIN PRIVATE")]
    with_data = context_of("ssl_ca_data=" + pem.replace("+", "%2B").replace("=", "%3D").replace("\n", "%0A"))
    assert with_data.cert_store_stats()["x509"] == trusted + 1
    context_of(f"ssl_ca_path={tmp_path}")
    context_of(f"ssl_certfile={certificate}&ssl_keyfile={certificate}")
    assert context_of("ssl_min_version=772").minimum_version == ssl.TLSVersion.TLSv1_3
    ciphers = {cipher["name"] for cipher in context_of("ssl_ciphers=ECDHE-RSA-AES128-GCM-SHA256").get_ciphers()}
    assert {name for name in ciphers if not name.startswith("TLS_")} == {"ECDHE-RSA-AES128-GCM-SHA256"}
    strict = ssl.VerifyFlags.VERIFY_X509_STRICT
    assert strict in context_of("ssl_include_verify_flags=VERIFY_X509_STRICT").verify_flags
    loose = context_of("ssl_exclude_verify_flags=[VERIFY_X509_STRICT,VERIFY_X509_PARTIAL_CHAIN]").verify_flags
    assert strict not in loose
    assert ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN not in loose
