"""Where Redis is and how to log in: what a `redis://` or `rediss://` URL says."""

import re
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from runtime.certificates import naming_issuers
from runtime.reachability import ServerFault

DEFAULT_PORT = 6379
_DATABASE = re.compile(r"/([0-9]{1,9})")
_ESCAPED = "in a user or password, write each of /?#[]@: as %XX"
_OPTION_NAME = re.compile(r"[a-z_]{1,32}")


@dataclass(frozen=True)
class RedisServer:
    """One server; `password` is None where there is no login, `tls` where the connection is not encrypted."""

    host: str
    port: int = DEFAULT_PORT
    database: int = 0
    username: str = field(default="default", repr=False)
    password: str | None = field(default=None, repr=False)
    client_name: str = "gateway"
    tls: ssl.SSLContext | None = None

    def report(self, found: object) -> ServerFault:
        """Where it is, and what was found there."""
        return ServerFault(self.host, self.port, str(found))


def parse_redis_url(url: str) -> RedisServer:
    """Read `redis[s]://[[user]:password@]host[:port][/database][?options]`; everything in it has an effect.

    Options are spelt as redis-py spells them: `db`, `client_name`, and for `rediss` those of `_TlsOptions`.

    Raises:
        ValueError: says what is wrong and names the option, without a word that may be a secret.
    """
    parts = _split(url)
    options = _read_options(parts)
    has_login = parts.username is not None or parts.password is not None
    return RedisServer(
        host=parts.hostname or "",
        port=parts.port or DEFAULT_PORT,
        database=_database(parts.path, options.db),
        username=unquote(parts.username or "") or "default",
        password=unquote(parts.password or "") if has_login else None,
        client_name=options.client_name,
        tls=options.context() if isinstance(options, _TlsOptions) else None,
    )


def _split(url: str) -> SplitResult:
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError("must start with redis:// or rediss://")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # its words may quote the password
        raise ValueError(f"has an invalid host or port; {_ESCAPED}") from None
    if not parts.hostname:
        raise ValueError("names no host")
    if port == 0:
        raise ValueError("has the port 0")
    if "#" in url:
        raise ValueError(f"has a fragment; {_ESCAPED}")
    if "@" in parts.path + parts.query:
        raise ValueError(f"has an @ behind its host; {_ESCAPED}")
    return parts


def _database(path: str, option: int | None) -> int:
    if path in ("", "/"):
        return option or 0
    if option is not None:
        raise ValueError("names the database twice, in its path and as db")
    match = _DATABASE.fullmatch(path)
    if match is None:
        raise ValueError("has a path that is not the number of a database, as in redis://host/0")
    return int(match[1])


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    db: Annotated[int, Field(ge=0)] | None = None
    client_name: Annotated[str, Field(pattern=r"^[!-~]+$")] = "gateway"


def _verify_flags(names: str) -> ssl.VerifyFlags:
    flags = ssl.VerifyFlags(0)
    for name in names.strip("[]").split(","):
        if name.strip() not in ssl.VerifyFlags.__members__:
            raise ValueError("Input should be names of ssl.VerifyFlags, comma separated")
        flags |= ssl.VerifyFlags[name.strip()]
    return flags


VerifyFlags = Annotated[ssl.VerifyFlags, PlainValidator(_verify_flags)]


class _TlsOptions(_Options):
    """What a server must prove, and what proves this client; files are PEM."""

    ssl_cert_reqs: Literal["none", "optional", "required"] = "required"
    ssl_check_hostname: bool = True
    ssl_ca_certs: str | None = None
    ssl_ca_path: str | None = None
    ssl_ca_data: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str = ""
    ssl_min_version: Annotated[int, Field(ge=ssl.TLSVersion.TLSv1_2, le=ssl.TLSVersion.TLSv1_3)] | None = None
    ssl_ciphers: str | None = None
    ssl_include_verify_flags: VerifyFlags = ssl.VerifyFlags(0)
    ssl_exclude_verify_flags: VerifyFlags = ssl.VerifyFlags(0)

    def context(self) -> ssl.SSLContext:
        """Raises ValueError where a file or a cipher is not usable."""
        context = naming_issuers(ssl.create_default_context())
        context.check_hostname = self.ssl_check_hostname and self.ssl_cert_reqs != "none"
        context.verify_mode = ssl.VerifyMode[f"CERT_{self.ssl_cert_reqs.upper()}"]
        context.verify_flags |= self.ssl_include_verify_flags
        context.verify_flags &= ~self.ssl_exclude_verify_flags
        if self.ssl_min_version is not None:
            context.minimum_version = ssl.TLSVersion(self.ssl_min_version)
        if self.ssl_ca_certs or self.ssl_ca_path or self.ssl_ca_data:
            with _naming("ssl_ca_certs, ssl_ca_path or ssl_ca_data"):
                context.load_verify_locations(self.ssl_ca_certs, self.ssl_ca_path, self.ssl_ca_data)
        if self.ssl_certfile or self.ssl_keyfile:
            with _naming("ssl_certfile, ssl_keyfile or ssl_password"):
                # without a password OpenSSL would prompt for one at the terminal
                context.load_cert_chain(self.ssl_certfile or "", self.ssl_keyfile, self.ssl_password)
        if self.ssl_ciphers is not None:
            with _naming("ssl_ciphers"):
                context.set_ciphers(self.ssl_ciphers)
        return context


@contextmanager
def _naming(options: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # ssl.SSLError too
        raise ValueError(f"{options}: {error.args[-1]}") from None


def _read_options(parts: SplitResult) -> _Options:
    kind = _TlsOptions if parts.scheme == "rediss" else _Options
    try:
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise ValueError("has an option that is not written name=value") from None
    repeated = [name for name, times in Counter(name for name, _ in given).items() if times > 1]
    try:
        options = kind.model_validate(dict(given))
    except ValidationError as error:
        faults = [_fault(str(fault["loc"][0]), fault["type"], fault["msg"]) for fault in error.errors()]
        raise ValueError("; ".join(faults)) from None
    if repeated:
        raise ValueError(f"has the option {repeated[0]} twice")
    return options


def _fault(name: str, kind: str, message: str) -> str:
    if kind != "extra_forbidden":
        return f"{name}: {message.removeprefix('Value error, ')}"
    if name in _TlsOptions.model_fields:
        return f"{name} is an option of rediss:// only"
    shown = name if _OPTION_NAME.fullmatch(name) else "one of the names"
    return f"{shown} is not an option; the options are {', '.join(_TlsOptions.model_fields)}"
