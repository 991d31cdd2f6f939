"""Why PostgreSQL cannot be used, in words for an operator.

In a session every error has an SQLSTATE (PostgreSQL's manual, appendix A). While a session is being made there is none:
libpq hands over text alone, its own (`fe-connect.c`, `fe-auth.c`, `fe-secure-openssl.c`) or what the server said
(`postmaster.c`, `auth.c`, `postinit.c`; PgBouncer's `client.c`), and psycopg's where a name is looked up. The text is
compared with what those files can say, without the names it quotes, and is never shown. Messages of a server in another
language than English are only recognised by their form.
"""

import re
import socket
import ssl
import struct
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import FinishedPGconn
from psycopg_pool import PoolTimeout

from runtime.certificates import issuer_of
from runtime.reachability import (
    CLOSED,
    NO_ROUTE,
    NO_TLS,
    REFUSED,
    TIMED_OUT,
    UNRESOLVED,
    ServerFault,
    reason_of,
    untrusted,
)

DEFAULT_PORT = 5432
CERTIFICATE_SECONDS = 3
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""The SSLRequest message (PostgreSQL's manual, section 54.7)."""

_FULL = "the server takes no more connections"
_STARTING = "the server is starting, stopping or recovering"
_BY_SQLSTATE = {
    "25006": "the server is read-only",
    "53100": "the server's disk is full",
    "53300": _FULL,
    "57014": "the statement was cancelled: it took too long, or somebody ended it",
    "57P01": "the server ended the connection: it restarts, or somebody ended the session",
    "57P02": "the server ended the connection after a crash",
    "57P03": _STARTING,
}
_BY_TEXT = (
    ("failed to resolve host|could not translate host name", UNRESOLVED),
    ("Connection refused", REFUSED),
    ("timeout expired|timed out", TIMED_OUT),
    ("No route to host|unreachable", NO_ROUTE),
    ("closed the connection|connection is (closed|lost)|Connection reset|Broken pipe|eof while reading", CLOSED),
    ("does not support SSL|wrong version number|packet length too long", NO_TLS),
    ("invalid response to SSL|expected authentication request", "it is no PostgreSQL server"),
    ("root certificate file|certificate store", "the root certificates of sslrootcert cannot be read"),
    ("does not match host name", "its certificate is for another host name"),
    ("no password supplied", "it asks for a password, and the URL has none"),
    ("(password|SASL) authentication failed|no such user", "the password of role {role} is refused"),
    ('role "" does not exist', "there is no role {role}"),
    ("not permitted to log in", "role {role} may not log in"),
    ('database "" does not exist|no such database', "there is no database {database}"),
    ("permission denied for database", "role {role} may not connect to database {database}"),
    ("pg_hba.conf", "its pg_hba.conf does not let role {role} connect to database {database} from here"),
    ("too many|connection slots|no more connections", _FULL),
    ("starting up|shutting down|not (yet|currently) accepting|recovery", _STARTING),
    (r"^\w+:  ", "it refuses role {role}, and its log says why"),
)
_UNTRUSTED = "certificate verify failed"
_QUOTED = re.compile('"[^"]*"')
_PREAMBLE = re.compile("^connection (failed|is bad): (connection to server .*? failed: )?")


class Target(NamedTuple):
    """What a database URL leads to; of several hosts the last, whose failure is the one that psycopg reports."""

    host: str
    port: int
    role: str
    database: str


def target_of(url: str) -> Target:
    """Read a URL, or another connection string that libpq takes."""
    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    host, port, role = (given.get(name, "").split(",")[-1] for name in ("host", "port", "user"))
    return Target(host or "localhost", int(port or DEFAULT_PORT), role, given.get("dbname", role))


def fault_of(error: BaseException, url: str) -> ServerFault:
    """Where the database is, and why `error` happened.

    Takes up to 3 s where a certificate is not trusted: it is fetched again, since libpq does not report who issued it.
    """
    target = target_of(url)
    pgconn = getattr(error, "pgconn", None)
    if not isinstance(pgconn, FinishedPGconn):
        return ServerFault(target.host, target.port, _reason(error, target))
    host, port = pgconn.host.decode() or target.host, int(pgconn.port or target.port)
    if _UNTRUSTED in _said(error):
        issuer = _presented_issuer(pgconn.hostaddr.decode() or host, port, host)
        return ServerFault(host, port, untrusted("no root of sslrootcert vouches for it, or it has expired", issuer))
    return ServerFault(host, port, _reason(error, target))


def _reason(error: BaseException, target: Target) -> str:
    if isinstance(error, PoolTimeout):
        return "no connection became free in time"
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return _BY_SQLSTATE.get(state, f"{type(error).__name__} (SQLSTATE {state})")
    if not isinstance(error, psycopg.Error):
        return reason_of(error)
    said = _said(error)
    words = next((words for pattern, words in _BY_TEXT if re.search(pattern, said)), None)
    return words.format_map(target._asdict()) if words else f"failed in an unknown way ({type(error).__name__})"


def _said(error: BaseException) -> str:
    """The text without the names that it quotes, which could be mistaken for the message itself."""
    text = str(error).partition("Multiple connection attempts failed")[0]
    return _PREAMBLE.sub("", _QUOTED.sub('""', text))


def _presented_issuer(address: str, port: int, name: str) -> str | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing but the certificate is read
    try:
        with socket.create_connection((address, port), CERTIFICATE_SECONDS) as connection:
            connection.sendall(_SSL_REQUEST)
            if connection.recv(1) != b"S":
                return None
            with context.wrap_socket(connection, server_hostname=name) as encrypted:
                return issuer_of(encrypted.get_unverified_chain())
    except OSError:
        return None
