"""Servers that fail a client in one way each, on loopback."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from devtools.processes import LOOPBACK

UNRESOLVABLE = "nowhere.invalid"
"""A name that no resolver knows (RFC 6761 section 6.4)."""
ISSUER = "O=Untrusted Authority"
MOST_BYTES = 4096

type Treatment = Callable[[socket.socket], None]
"""What a server does with one connection, which is closed afterwards."""


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port that stays taken and on which nothing listens."""
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        yield bound.getsockname()[1]


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port on which connections are made and nothing is ever said."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def server(treat: Treatment) -> Iterator[int]:
    """A port on which each connection, one after the other, is treated like this."""
    ended = threading.Event()
    handles: list[socket.socket] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, connection.dup() as handle, contextlib.suppress(OSError):
                if ended.is_set():
                    return
                handles.append(handle)
                treat(connection)
                handle.shutdown(socket.SHUT_RDWR)

    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield port
        finally:
            ended.set()
            # a client whose loop waits here closes nothing
            for handle in handles:
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)
            socket.create_connection((LOOPBACK, port)).close()
            serving.join()


def hangs_up(connection: socket.socket) -> None:
    """Read what comes first, and close."""
    connection.recv(MOST_BYTES)


def answers(text: bytes) -> Treatment:
    """Read what comes first, send `text`, and close."""

    def treat(connection: socket.socket) -> None:
        connection.recv(MOST_BYTES)
        connection.sendall(text)

    return treat


def tls(certificate: Path, before: Treatment = lambda _connection: None) -> Treatment:
    """Shake hands with this certificate, after `before`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def treat(connection: socket.socket) -> None:
        before(connection)
        with context.wrap_socket(connection, server_side=True) as encrypted:
            encrypted.recv(MOST_BYTES)

    return treat


def self_signed(name: str, folder: Path) -> Path:
    """A file with a certificate for the host `name`, which `ISSUER` has issued to itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    owner = x509.Name.from_rfc4514_string(ISSUER)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(owner)
        .issuer_name(owner)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{name}.pem"
    path.write_bytes(certificate.public_bytes(pem) + private)
    return path
