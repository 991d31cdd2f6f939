"""Who the client is, behind proxies that may lie."""

import logging
from ipaddress import ip_network

import pytest
from gateway_harness import Provider, StartGateway
from hypothesis import given, settings
from hypothesis import strategies as st

from devtools.testing.servers import ScriptedServer
from gateway.forwarding_headers import MAX_HOPS
from gateway.metrics import Metrics
from gateway.proxies import UNKNOWN, Client, TrustedProxies

TRUSTED = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")], Metrics())


def client(peer: str, **fields: str | list[str]) -> Client:
    headers = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, given in fields.items()
        for value in ([given] if isinstance(given, str) else given)
    ]
    return TRUSTED.client(peer, "http", headers)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["", " , "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1,,"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["garbage, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        (UNKNOWN, ["198.51.100.1"], UNKNOWN),
    ],
)
def test_the_client_is_the_first_from_the_right_whom_nobody_vouches_for(
    peer: str, forwarded_for: list[str], address: str
) -> None:
    assert client(peer, x_forwarded_for=forwarded_for).address == address


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("198.51.100.1:4711", "198.51.100.1"),
        ('"198.51.100.1:4711"', "198.51.100.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ('"[2001:db8::1]:4711"', "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
    ],
)
def test_an_address_may_have_a_port_brackets_and_quotes(written: str, address: str) -> None:
    """Azure's balancers append a port; RFC 7239 section 6 puts IPv6 addresses into brackets and quotes."""
    assert client("10.0.0.1", x_forwarded_for=f"1.2.3.4, {written}").address == address
    assert client("10.0.0.1", x_forwarded_for=f"1.2.3.4, {written}, 10.9.9.9:80").address == address
    element = written if written.startswith('"') else f'"{written}"'
    assert client("10.0.0.1", forwarded=f"for=1.2.3.4, for={element}").address == address


@pytest.mark.parametrize(
    ("fields", "address", "scheme"),
    [
        (["for=198.51.100.1"], "198.51.100.1", "http"),
        (["For=198.51.100.1;Proto=HTTPS;by=10.0.0.1"], "198.51.100.1", "https"),
        (['proto=https;host="a.example";for=198.51.100.1'], "198.51.100.1", "https"),
        (["for=198.51.100.1; proto=https;"], "198.51.100.1", "https"),
        (["for=1.2.3.4;proto=https, for=198.51.100.1;proto=http, for=10.9.9.9;proto=https"], "198.51.100.1", "http"),
        (["for=1.2.3.4", 'for="[2001:db8::1]:4711"'], "2001:db8::1", "http"),
        (['for="198.51.100.1:_port"'], "198.51.100.1", "http"),
    ],
)
def test_forwarded_is_read_where_the_proxy_sends_that(fields: list[str], address: str, scheme: str) -> None:
    """RFC 7239 sections 4 to 6: names in any case, the scheme from the element that has the client."""
    assert client("10.0.0.1", forwarded=fields) == (address, scheme)
    assert client("203.0.113.7", forwarded=fields) == ("203.0.113.7", "http")


@pytest.mark.parametrize(
    "forged", ['for="', 'for="1.2.3.4', "for=1.2.3.4;", "for=1.2.3.4,", '"', "\\", 'for=1.2.3.4;host="']
)
def test_what_a_client_writes_into_forwarded_never_reaches_into_what_its_proxy_appends(forged: str) -> None:
    """An open quote must not swallow the element behind it (RFC 7239 section 4)."""
    for fields in ([forged, "for=198.51.100.1"], [f"{forged}, for=198.51.100.1"], [f"{forged},for=198.51.100.1"]):
        assert client("10.0.0.1", forwarded=fields).address == "198.51.100.1"


def test_a_client_cannot_speak_through_the_header_that_its_proxy_does_not_write() -> None:
    both = client("10.0.0.1", forwarded="for=1.2.3.4;proto=https", x_forwarded_for="198.51.100.1")
    assert both == ("198.51.100.1", "http")


@settings(deadline=None)
@given(st.lists(st.ip_addresses().map(str) | st.text(max_size=12), max_size=6))
def test_nothing_a_client_prepends_changes_who_it_is(prepended: list[str]) -> None:
    forged = ",".join(entry.replace(",", "") for entry in prepended).encode("latin-1", "replace").decode("latin-1")
    assert client("10.0.0.1", x_forwarded_for=f"{forged},198.51.100.1").address == "198.51.100.1"
    assert client("10.0.0.1", forwarded=f"{forged},for=198.51.100.1").address == "198.51.100.1"


UNREADABLE = [
    "garbage", "198.51.100.1.2", "198.51.100.256", "198.51.100.1:", "198.51.100.1:123456", "198.51.100.1 1", "[::1",
    "::1]", "[198.51.100.1]x", '"198.51.100.1', '198.51.100.1"', '"', "unknown", "_hidden", "a.example",
    "http://198.51.100.1",
]  # fmt: skip


@pytest.mark.parametrize("entry", UNREADABLE)
def test_an_unreadable_entry_leaves_the_client_unknown_and_names_no_proxy(entry: str) -> None:
    for chain in (entry, f"198.51.100.1, {entry}", f"198.51.100.1, {entry}, 10.2.2.2"):
        found = client("10.0.0.1", x_forwarded_for=chain)
        assert (found.address, found.limited_address) == (UNKNOWN, None)


@pytest.mark.parametrize(
    "element",
    [*(f"for={entry}" for entry in UNREADABLE), "proto=https", "for", "for=1.2.3.4;for=5.6.7.8", "for = 1.2.3.4",
     "for=1.2.3.4 by=5.6.7.8", 'for="1.2.3.4"x', 'for="1.2.3.4\\"', 'a,for=1.2.3.4"', "for=1.2.3.4;=a"],
)  # fmt: skip
def test_an_unreadable_element_leaves_the_client_unknown(element: str) -> None:
    for fields in (element, f"for=198.51.100.1, {element}", f"for=198.51.100.1, {element}, for=10.2.2.2"):
        assert client("10.0.0.1", forwarded=fields).limited_address is None


def test_hops_are_bounded() -> None:
    assert client("10.0.0.1", x_forwarded_for=", ".join(["198.51.100.1"] + ["10.1.1.1"] * (MAX_HOPS - 1))) == (
        "198.51.100.1",
        "http",
    )
    assert client("10.0.0.1", x_forwarded_for=", ".join(["1.2.3.4"] * 2 + ["10.1.1.1"] * MAX_HOPS)).address == UNKNOWN


def test_the_scheme_is_believed_from_a_trusted_proxy_alone() -> None:
    forwarded = [(b"x-forwarded-proto", b"https")]
    assert TRUSTED.client("10.0.0.1", "http", forwarded).scheme == "https"
    assert TRUSTED.client("203.0.113.7", "http", forwarded).scheme == "http"
    assert TrustedProxies([], Metrics()).client("10.0.0.1", "http", forwarded).scheme == "http"


@pytest.mark.parametrize(
    ("written", "scheme"),
    [
        ("HTTPS", "https"), ("Http", "http"), ("https,http", "https"), ("https , https", "https"),
        (["https", "http"], "https"), ("gopher", "http"), ("gopher, https", "http"), ("https://", "http"), ("", "http"),
    ],
)  # fmt: skip
def test_the_scheme_comes_in_any_case_and_as_a_list(written: str | list[str], scheme: str) -> None:
    """RFC 3986 section 3.1; in a list the first is that of the proxy next to the client."""
    assert client("10.0.0.1", x_forwarded_proto=written, x_forwarded_for="198.51.100.1").scheme == scheme


def test_failures_of_one_ipv6_site_count_together() -> None:
    assert Client("2001:db8:1:2::1", "http").limited_address == Client("2001:db8:1:2:ffff::9", "http").limited_address
    assert Client("2001:db8:1:3::1", "http").limited_address != Client("2001:db8:1:2::1", "http").limited_address
    assert Client("198.51.100.1", "http").limited_address == "198.51.100.1"


def test_an_ipv4_client_of_a_dual_stack_listener_counts_for_itself() -> None:
    assert Client("::ffff:198.51.100.1", "http").limited_address == "198.51.100.1"


async def test_the_upstream_hears_the_client_and_the_scheme_that_a_trusted_proxy_tells(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer
) -> None:
    headers = {
        "Authorization": f"Bearer {provider.token()}",
        "X-Forwarded-For": "1.2.3.4, 198.51.100.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
    }
    async with start_gateway(trusted_proxies="127.0.0.0/8,fd00::/8") as gateway:
        await gateway.client.get("/v1/todos", headers=headers)
    [request] = upstream.requests
    assert (request["x-forwarded-for"], request["x-forwarded-proto"]) == ("198.51.100.1", "https")
    assert request["x-forwarded-host"] == f"127.0.0.1:{gateway.port}"


async def test_failing_tokens_count_against_the_client_and_not_against_its_proxy(
    start_gateway: StartGateway, provider: Provider
) -> None:
    async with start_gateway(trusted_proxies="127.0.0.1/32", rate_limits="auth-failure=1/60s") as gateway:

        async def status(client: str) -> int:
            headers = {"Authorization": f"Bearer {provider.token(aud='other')}", "X-Forwarded-For": client}
            return (await gateway.client.get("/v1/todos", headers=headers)).status_code

        assert [await status("198.51.100.1") for _ in range(2)] == [401, 429]
        assert [await status("198.51.100.2:4711") for _ in range(2)] == [401, 429]


async def test_a_proxy_whose_header_cannot_be_read_is_nobodys_limit_and_is_counted_and_logged_once(
    start_gateway: StartGateway, provider: Provider, upstream: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with start_gateway(trusted_proxies="127.0.0.1/32", rate_limits="auth-failure=1/60s") as gateway:
        bad = {"Authorization": f"Bearer {provider.token(aud='other')}", "X-Forwarded-For": "client-of-mine"}
        for _ in range(3):
            assert (await gateway.client.get("/v1/todos", headers=bad)).status_code == 401
        good = {"Authorization": f"Bearer {provider.token()}", "Forwarded": "for=_hidden"}
        assert (await gateway.client.get("/v1/todos", headers=good)).status_code == 200
        assert gateway.metric("gateway_forwarding_unreadable_total") == 4
    [request] = upstream.requests
    assert request["x-forwarded-for"] == UNKNOWN
    records = [record for record in caplog.records if record.name == "gateway.proxies"]
    assert [record.levelname for record in records] == ["WARNING"]
    assert "client-of-mine" not in caplog.text
