"""Why a server cannot be reached, in words for an operator: never what the server sent, nor a password or a URL."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import NamedTuple, override

REFUSED = "connection refused"
UNRESOLVED = "the name cannot be resolved"
NO_ROUTE = "no route to the host"
TIMED_OUT = "timed out"
CLOSED = "the server closed the connection"
NO_TLS = "the server does not speak TLS"

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "BAD_RECORD_TYPE"})
"""OpenSSL's names for bytes that are no TLS record (`openssl/sslerr.h`)."""

_KINDS: dict[type[BaseException], str] = {
    TimeoutError: TIMED_OUT,
    socket.gaierror: UNRESOLVED,
    ConnectionRefusedError: REFUSED,
    ConnectionError: CLOSED,
    EOFError: CLOSED,
}

type Known = Mapping[type[BaseException], str]
"""What exceptions of a client library mean, where no exception of Python's own says it."""


class ServerFault(NamedTuple):
    """A server, as its setting names it, and what is wrong with it."""

    host: str
    port: int
    reason: str

    @override
    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}: {self.reason}"


class UntrustedCertificateError(ssl.SSLCertVerificationError):
    """The server's certificate was not accepted; `issuer` is the name that it says issued it."""

    def __init__(self, error: ssl.SSLCertVerificationError, issuer: str) -> None:
        super().__init__(*error.args)
        self.verify_message = error.verify_message
        self.issuer = issuer


def reason_of(error: BaseException, known: Known | None = None) -> str:
    """The kind of failure: of `error`, or of the first of its causes that has one; `known` comes last.

    Client libraries wrap what Python raises, and each leaves it as the `__cause__` or `__context__` of its own.
    """
    causes = [*_causes(error)]
    kinds = [*map(_kind, causes), *(_known_kind(one, known or {}) for one in causes)]
    return next((kind for kind in kinds if kind), f"failed in an unknown way ({type(error).__name__})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        if isinstance(current, BaseExceptionGroup):
            # one for each address of the name
            current = current.exceptions[-1]
        else:
            current = current.__cause__ or current.__context__


def untrusted(why: str, issuer: str | None) -> str:
    """The words for a certificate that is not accepted."""
    return f"its certificate{f', issued by {issuer},' if issuer else ''} is not trusted: {why}"


def _kind(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError):
        return _tls_kind(error)
    found = _known_kind(error, _KINDS)
    if found or not isinstance(error, OSError) or error.errno is None:
        return found
    return NO_ROUTE if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH) else os.strerror(error.errno)


def _known_kind(error: BaseException, known: Known) -> str | None:
    return next((words for kind, words in known.items() if isinstance(error, kind)), None)


def _tls_kind(error: ssl.SSLError) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return untrusted(error.verify_message, getattr(error, "issuer", None))
    if isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError):
        return None
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED
    if error.reason in _NOT_TLS:
        return NO_TLS
    return f"the TLS handshake failed: {(error.reason or 'unknown').replace('_', ' ').lower()}"
