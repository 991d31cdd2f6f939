"""What a request must look like before anything of it is believed."""

from urllib.parse import unquote_to_bytes

import pytest
from gateway_harness import Provider, Running
from hypothesis import given
from hypothesis import strategies as st

from devtools.testing.servers import ScriptedServer
from gateway.request_checks import check_headers, check_path
from runtime.problems import ProblemError

HOST = (b"host", b"example.com")


def is_refused(path: bytes) -> bool:
    try:
        check_path(path)
    except ProblemError as problem:
        return problem.code == "bad_request"
    return False


@pytest.mark.parametrize(
    "path",
    [
        b"", b"v1/todos", b"//v1", b"/v1//todos", b"/v1/todos//", b"/v1\\todos", b"/.", b"/..", b"/v1/../x", b"/v1/./x",
        b"/v1/..", b"/%2e%2e/x", b"/%2E./x", b"/.%2e", b"/v1/%2e/x", b"/v1%2ftodos", b"/v1%2Ftodos", b"/v1%5ctodos",
        b"/v1/%00", b"/v1/%252e", b"/v1/%25", b"/v1/%", b"/v1/%2", b"/v1/%zz", b"/v1/%2%66",
    ],
)  # fmt: skip
def test_a_path_that_two_readers_could_read_differently_is_refused(path: bytes) -> None:
    assert is_refused(path)


@pytest.mark.parametrize(
    "path", [b"/", b"/v1/todos", b"/v1/todos/", b"/v1/.x", b"/v1/...", b"/v1/x..", b"/v1/%C3%A4", b"/a%2eb"]
)
def test_a_plain_path_passes(path: bytes) -> None:
    assert not is_refused(path)


@given(st.text(st.sampled_from("/.%2eE5cC0fF\\ab"), max_size=24).map(lambda text: b"/" + text.encode()))
def test_what_passes_means_the_same_however_often_it_is_decoded(path: bytes) -> None:
    if is_refused(path):
        return
    decoded = unquote_to_bytes(path)
    assert decoded.count(b"/") == path.count(b"/")
    assert unquote_to_bytes(decoded) == decoded
    assert b"\\" not in decoded
    assert b"\0" not in decoded
    assert not {b".", b".."} & set(decoded.split(b"/"))
    assert b"//" not in decoded


@pytest.mark.parametrize("name", [b"x_user_id", b"x-user_id", b"x.user.id", b"a.b"])
def test_a_header_name_that_another_server_may_rewrite_is_refused(name: bytes) -> None:
    with pytest.raises(ProblemError):
        check_headers([HOST, (name, b"alice")])


@pytest.mark.parametrize(
    "hosts", [[], [b""], [b"a", b"b"], [b"a b"], [b"a/b"], [b"a@b"], [b'a"'], [b"a:b"], [b"[::1"], [b"-a"]]
)
def test_a_missing_repeated_or_odd_host_is_refused(hosts: list[bytes]) -> None:
    with pytest.raises(ProblemError):
        check_headers([(b"host", host) for host in hosts])


@pytest.mark.parametrize("host", [b"localhost", b"api.example.com:8443", b"127.0.0.1:8000", b"[::1]:80"])
def test_a_plain_host_passes(host: bytes) -> None:
    assert check_headers([(b"host", host)]).host == host


@pytest.mark.parametrize("target", ["/v1/todos%2F..", "/v1/todos/%2e%2e/x", "/v1//todos", "/v1/todos/%255c"])
async def test_an_unsafe_path_never_reaches_the_upstream(
    gateway: Running, provider: Provider, upstream: ScriptedServer, target: str
) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    request = gateway.client.build_request("GET", "/", headers=headers)
    request.url = request.url.copy_with(raw_path=target.encode())
    response = await gateway.client.send(request)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert upstream.requests == []


@pytest.mark.parametrize("target", ["/v1/todos?tag=%C3%A4&q=a+b%20c&x=/../", "/v1/todos/%C3%A4", "/v1/todos/a;b=c,d"])
async def test_the_target_is_forwarded_byte_for_byte(
    gateway: Running, provider: Provider, upstream: ScriptedServer, target: str
) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    request = gateway.client.build_request("GET", "/", headers=headers)
    request.url = request.url.copy_with(raw_path=target.encode())
    assert (await gateway.client.send(request)).status_code == 200
    assert [request.target for request in upstream.requests] == [target]
