"""The kind of a failure is found among the causes of an exception, whoever wrapped it."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from devtools.testing.unreachable import (
    ISSUER,
    UNRESOLVABLE,
    answers,
    hangs_up,
    refusing_port,
    self_signed,
    server,
    silent_port,
    tls,
)
from runtime.certificates import issuer_of, naming_issuers
from runtime.reachability import (
    CLOSED,
    NO_ROUTE,
    NO_TLS,
    REFUSED,
    TIMED_OUT,
    UNRESOLVED,
    ServerFault,
    reason_of,
)


class ClientError(Exception):
    """What a client library would raise."""


async def failure(port: int, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> BaseException:
    """The exception of one exchange, wrapped twice: with a cause, and with a context alone."""
    try:
        try:
            try:
                async with asyncio.timeout(0.5):
                    reader, writer = await asyncio.open_connection(host, port, ssl=context)
                    with contextlib.closing(writer):
                        writer.write(b"hello")
                        await reader.readexactly(1)
            except (OSError, EOFError) as error:
                raise ClientError from error
        except ClientError:
            raise ClientError  # noqa: B904 - as some do
    except ClientError as error:
        return error
    raise AssertionError("nothing failed")


@pytest.mark.parametrize(
    ("listening", "context", "expected"),
    [
        (refusing_port, None, REFUSED),
        (silent_port, None, TIMED_OUT),
        (silent_port, ssl.create_default_context(), TIMED_OUT),
        (lambda: server(hangs_up), None, CLOSED),
        (lambda: server(hangs_up), ssl.create_default_context(), CLOSED),
        (lambda: server(answers(b"HTTP/1.1 400 Bad Request\r\n\r\n")), ssl.create_default_context(), NO_TLS),
    ],
)
async def test_a_connection_that_cannot_be_used_is_named_by_its_kind(
    listening: Callable[[], AbstractContextManager[int]], context: ssl.SSLContext | None, expected: str
) -> None:
    with listening() as port:
        assert reason_of(await failure(port, context=context)) == expected


async def test_a_name_that_cannot_be_resolved_is_named() -> None:
    assert reason_of(await failure(80, UNRESOLVABLE)) == UNRESOLVED


async def test_a_certificate_that_is_not_trusted_is_named_with_its_issuer(tmp_path: Path) -> None:
    with server(tls(self_signed("localhost", tmp_path))) as port:
        named = await failure(port, "localhost", naming_issuers(ssl.create_default_context()))
        unnamed = await failure(port, "localhost", ssl.create_default_context())
    assert reason_of(named) == f"its certificate, issued by {ISSUER}, is not trusted: self-signed certificate"
    assert reason_of(unnamed) == "its certificate is not trusted: self-signed certificate"


async def test_a_handshake_that_fails_otherwise_is_named_in_the_words_of_openssl(tmp_path: Path) -> None:
    old = ssl.create_default_context()
    old.set_ciphers("AES128-SHA")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with server(tls(self_signed("localhost", tmp_path))) as port:
        found = reason_of(await failure(port, "localhost", old))
    assert found.startswith("the TLS handshake failed: ")
    assert "handshake failure" in found


def test_a_chain_that_is_none_has_no_issuer() -> None:
    assert issuer_of([]) is None
    assert issuer_of([b"\x30\x03\x02\x01\x01"]) is None


def test_of_several_addresses_the_last_counts_and_other_errors_are_named() -> None:
    several = ExceptionGroup("", [ConnectionRefusedError(), OSError(113, "No route to host")])
    assert reason_of(several) == NO_ROUTE
    assert reason_of(OSError(24, "whatever it says")) == "Too many open files"
    assert reason_of(ClientError("5ecret")) == "failed in an unknown way (ClientError)"
    assert reason_of(ClientError(), {ClientError: "it is no such server"}) == "it is no such server"


def test_a_fault_names_host_and_port() -> None:
    assert str(ServerFault("db.example", 5432, REFUSED)) == "db.example:5432: connection refused"
    assert str(ServerFault("::1", 5432, REFUSED)) == "[::1]:5432: connection refused"
