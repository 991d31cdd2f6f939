"""Who the client is, behind proxies that may lie."""

from ipaddress import ip_network

import pytest
from gateway_harness import Provider, StartGateway
from hypothesis import given
from hypothesis import strategies as st

from devtools.testing.servers import ScriptedServer
from gateway.proxies import Client, TrustedProxies

TRUSTED = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def address(peer: str, *forwarded_for: str) -> str:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded_for]
    return TRUSTED.client(peer, "http", headers).address


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, garbage"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, garbage, 10.2.2.2"], "10.2.2.2"),
        ("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("unknown", ["198.51.100.1"], "unknown"),
    ],
)
def test_the_client_is_the_first_from_the_right_whom_nobody_vouches_for(
    peer: str, forwarded_for: list[str], client: str
) -> None:
    assert address(peer, *forwarded_for) == client


@given(st.lists(st.ip_addresses().map(str) | st.text(max_size=12), max_size=6))
def test_nothing_a_client_prepends_changes_who_it_is(prepended: list[str]) -> None:
    forged = ",".join(entry.replace(",", "") for entry in prepended).encode("latin-1", "replace").decode("latin-1")
    assert address("10.0.0.1", f"{forged},198.51.100.1") == "198.51.100.1"


def test_the_scheme_is_believed_from_a_trusted_proxy_alone() -> None:
    forwarded = [(b"x-forwarded-proto", b"https")]
    assert TRUSTED.client("10.0.0.1", "http", forwarded).scheme == "https"
    assert TRUSTED.client("203.0.113.7", "http", forwarded).scheme == "http"
    assert TRUSTED.client("10.0.0.1", "http", [(b"x-forwarded-proto", b"gopher")]).scheme == "http"
    assert TrustedProxies([]).client("10.0.0.1", "http", forwarded).scheme == "http"


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
        assert [await status("198.51.100.2") for _ in range(2)] == [401, 429]
