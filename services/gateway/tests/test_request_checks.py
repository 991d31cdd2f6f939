"""What a request must look like before anything of it is believed."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from gateway_harness import Provider, Running
from hypothesis import given
from hypothesis import strategies as st

from devtools.testing.servers import ScriptedServer
from gateway.request_checks import authority_of, check_content_coding, check_headers, check_path
from runtime.problems import ProblemError
from strict_http.asgi import Headers

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


@pytest.mark.parametrize("name", [b"content_length", b"content.length", b"transfer_encoding", b"transfer.encoding"])
def test_a_name_that_another_server_may_read_as_framing_is_refused_and_ends_the_connection(name: bytes) -> None:
    """CGI turns hyphens into underscores (RFC 3875 section 4.1.18), and servers turn them back."""
    with pytest.raises(ProblemError) as refused:
        check_headers([HOST, (name, b"5")])
    assert (b"connection", b"close") in refused.value.headers


any_name = st.text(st.sampled_from("abeu-_."), min_size=1, max_size=8).map(str.encode)


@given(
    st.lists(any_name | st.sampled_from([b"x_user_id", b"x-user_id", b"x.user.id", b"accept_encoding", b"if.match"]))
)
def test_any_other_name_with_an_underscore_or_a_dot_is_dropped_and_nothing_else_is(names: list[bytes]) -> None:
    headers = [HOST, *((name, b"x") for name in names)]
    kept = check_headers(headers).headers
    assert kept == [field for field in headers if re.search(rb"[_.]", field[0]) is None]


@pytest.mark.parametrize(
    "hosts",
    [
        [b""], [b"a", b"b"], [b"a b"], [b"a/b"], [b"a@b"], [b'a"'], [b"a:b"], [b"[::1"], [b"-a"], [b"a-"], [b"a.."],
        [b".a"], [b"."], [b"a..b"], [b"a,b"], [b"a:"], [b"a:123456"], [b"a.:80."], [b"[]"], [b"[::1]."], [b"a\\b"],
        [b"%61"], [b"a" * 254], [b"\xe4"],
    ],
)  # fmt: skip
def test_a_repeated_or_odd_host_is_refused(hosts: list[bytes]) -> None:
    with pytest.raises(ProblemError):
        check_headers([(b"host", host) for host in hosts])


@pytest.mark.parametrize(
    "host",
    [
        b"localhost", b"api.example.com:8443", b"127.0.0.1:8000", b"[::1]:80", b"api.example.com.", b"my_service:8000",
        b"_a._b.example.:80", b"a--b",
    ],
)  # fmt: skip
def test_a_plain_host_passes(host: bytes) -> None:
    """RFC 9110 section 7.2: a trailing dot and `_` are what resolvers and Compose services have."""
    assert check_headers([(b"host", host)]).host == host


@pytest.mark.parametrize(
    ("server", "authority"), [(("127.0.0.1", 8000), b"127.0.0.1:8000"), (("::1", 80), b"[::1]:80")]
)
def test_without_a_host_the_listener_s_own_address_stands_for_it(server: tuple[str, int], authority: bytes) -> None:
    assert check_headers([]).host is None
    assert authority_of(server) == authority
    assert check_headers([(b"host", authority)]).host == authority


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "gzip, identity", "aws-chunked", "x"])
async def test_a_body_in_a_coding_is_415_with_what_is_accepted(
    gateway: Running, provider: Provider, upstream: ScriptedServer, coding: str
) -> None:
    """RFC 9110 sections 8.4 and 12.5.3."""
    headers = {"Authorization": f"Bearer {provider.token()}", "Content-Encoding": coding}
    response = await gateway.client.post("/v1/todos", headers=headers, content=b"{}")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert response.headers["accept-encoding"] == "identity"
    assert upstream.requests == []


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
async def test_the_identity_coding_is_none(gateway: Running, provider: Provider, coding: str) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}", "Content-Encoding": coding}
    assert (await gateway.client.post("/v1/todos", headers=headers, content=b"{}")).status_code == 200


async def test_a_coding_without_a_body_codes_nothing(gateway: Running, provider: Provider) -> None:
    headers = {"Authorization": f"Bearer {provider.token()}", "Content-Encoding": "gzip"}
    assert (await gateway.client.get("/v1/todos", headers=headers)).status_code == 200


async def test_a_coding_is_refused_to_users_alone(gateway: Running) -> None:
    response = await gateway.client.post("/v1/todos", headers={"Content-Encoding": "gzip"}, content=b"{}")
    assert response.status_code == 401


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


@pytest.mark.parametrize("path", [b"a", b"/a%", b"/a%2f", b"/a/.."])
def test_a_refused_path_is_called_one(path: bytes) -> None:
    with pytest.raises(ProblemError) as refused:
        check_path(path)
    assert (refused.value.code, refused.value.detail) == ("bad_request", "The path is malformed or unsafe.")


@pytest.mark.parametrize(
    ("headers", "code", "detail"),
    [
        ([(b"host", b"a"), (b"host", b"a")], "bad_request", "The Host is malformed or unsafe."),
        ([(b"content_length", b"1")], "bad_request", "The header name is malformed or unsafe."),
        ([(b"authorization", b"a")] * 2, "invalid_authorization", "Authorization came more than once."),
    ],
)
def test_a_refused_header_is_named(headers: Headers, code: str, detail: str) -> None:
    with pytest.raises(ProblemError) as refused:
        check_headers(headers)
    assert (refused.value.code, refused.value.detail) == (code, detail)


def test_a_host_has_253_bytes_at_most() -> None:
    longest = b"a" * 253
    assert check_headers([(b"host", longest)]).host == longest
    with pytest.raises(ProblemError):
        check_headers([(b"host", longest + b"a")])


def test_the_length_of_a_body_is_known_or_not() -> None:
    assert check_headers([]).content_length == 0
    assert check_headers([(b"content-length", b"7")]).content_length == 7
    assert check_headers([(b"transfer-encoding", b"chunked")]).content_length is None


def test_a_refused_coding_says_what_to_send() -> None:
    with pytest.raises(ProblemError) as refused:
        check_content_coding(check_headers([(b"content-encoding", b"gzip"), (b"content-length", b"7")]))
    assert refused.value.detail == "Bodies with a Content-Encoding are not supported; send the body without one."
