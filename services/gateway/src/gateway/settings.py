"""The settings of each command, from `GATEWAY_…`; durations are in seconds, sizes in bytes."""

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    UrlConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.networks import AnyUrl
from pydantic_settings import NoDecode

from gateway.forward.client_shares import share_of
from gateway.issuer_settings import HttpUrl, IssuerSettings
from gateway.keys.jwks import KeySet, parse_jwks
from gateway.limits.limiter import RedisFailure
from gateway.limits.policy import Policy, parse_policy
from gateway.limits.redis_url import RedisServer, parse_redis_url
from gateway.proxies import Network
from gateway.routes import IMPORT_TIMES
from gateway.token.scopes import parse_scope
from identity import Keyring, parse_key
from runtime.settings import CommaList, ListenSettings, Port, named_entries, raise_entry_faults

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_DEFAULT_PORTS = {("http", ":80"), ("https", ":443")}
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")
"""RFC 9110 section 5.1, without `*`: to browsers it stands for every name but Authorization."""


def _plain(url: AnyUrl) -> AnyUrl:
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("must have no user, query or fragment")
    return url


def _without_path(url: AnyUrl) -> AnyUrl:
    if url.path not in (None, "", "/"):
        raise ValueError("must have no path: the path that was checked is the one that is forwarded")
    return url


def _redis(url: object) -> object:
    return parse_redis_url(url) if isinstance(url, str) else url


def _origin(origin: str) -> str:
    parts = _ORIGIN.fullmatch(origin)
    if parts is None or parts.groups() in _DEFAULT_PORTS:
        raise ValueError(
            "is not an origin as a browser writes it: scheme://host[:port] in lower case, no path, no default port"
        )
    return origin


def _field_name(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError("is not the name of a header")
    return name


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError("is not a network such as 10.0.0.0/8, with no bit set behind the prefix") from None


def _keyring(keys: object) -> object:
    return Keyring(keys) if isinstance(keys, dict) else keys


def _jwks_file(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        document = json.loads(Path(value).read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("is not of the form {issuer: jwks}")  # noqa: TRY004 - pydantic takes ValueError for a fault
    admitted: dict[str, KeySet] = {}
    faults: list[tuple[str, str]] = []
    for issuer, jwks in document.items():
        try:
            admitted[issuer] = parse_jwks(jwks)
        except ValueError as error:
            faults.append((issuer, str(error)))
    raise_entry_faults(faults)
    return admitted


PlainHttpUrl = Annotated[HttpUrl, AfterValidator(_plain)]
UpstreamUrl = Annotated[
    AnyUrl,
    UrlConstraints(allowed_schemes=["http"], host_required=True),
    AfterValidator(_plain),
    AfterValidator(_without_path),
]
RedisUrl = Annotated[
    RedisServer, NoDecode, BeforeValidator(_redis), Field(examples=["rediss://:password@redis.example.com:6379/0"])
]
Origin = Annotated[str, AfterValidator(_origin)]
FieldName = Annotated[str, AfterValidator(_field_name)]
TrustedNetwork = Annotated[Network, BeforeValidator(_network)]


class RevokeSettings(IssuerSettings):
    """What `gateway revoke` reads."""

    redis_url: RedisUrl
    """The Redis or Valkey that the gateways share, by `redis://` or, over TLS, `rediss://`."""


class ServeSettings(ListenSettings, IssuerSettings):
    """What `gateway serve` and `gateway check` read."""

    port: Port = 8000
    """The port for requests of clients; 0 takes any free one, which is logged."""
    admin_port: Port = 9000
    """The port for health and metrics; never route it from outside."""
    keepalive_seconds: Annotated[int, Field(gt=0)] = 75
    """Seconds to keep an idle client connection; set it longer than the ingress keeps its own."""

    jwks_file: Annotated[dict[str, KeySet], NoDecode, BeforeValidator(_jwks_file)] = Field(
        default_factory=dict, examples=["/etc/gateway/jwks.json"]
    )
    """A file `{issuer: jwks}` of keys to start with while a provider cannot be reached."""
    max_token_bytes: Annotated[int, Field(ge=1024, le=24 * 1024)] = 16 * 1024
    """Bytes of a token."""
    required_scopes: Annotated[dict[str, str], NoDecode, named_entries(parse_scope)] = Field(
        default_factory=dict, examples=["read=todos:read,write=todos:write"]
    )
    """The scope that a token needs to read, and to write."""

    explain_refusals: bool = True
    """Whether a 401 names the rule that the token broke: its issuer, algorithm, audience, times or other claims."""

    upstream_url: Annotated[UpstreamUrl, Field(examples=["http://todos:8001"])]
    """The todo service."""
    upstream_timeout: Annotated[float, Field(gt=0)] = 10
    """Seconds to the first byte of its response, then between bytes."""
    identity_keys: Annotated[
        Keyring, NoDecode, BeforeValidator(_keyring), named_entries(parse_key), Field(examples=["k1:…,k2:…"])
    ]
    """The keys shared with todos, as `id:key` with at least 32 bytes in base64url; the first signs."""
    public_url: Annotated[PlainHttpUrl | None, Field(examples=["https://api.example.com"])] = None
    """What the `url` of a todo starts with; where it is not set, what the client called."""
    cors_origins: Annotated[list[Origin], NoDecode, CommaList] = Field(
        default_factory=list, examples=["https://app.example.com,capacitor://localhost"]
    )
    """The origins whose pages may call, as a comma list, as a browser writes them."""
    cors_headers: Annotated[list[FieldName], NoDecode, CommaList] = Field(
        default_factory=list, examples=["X-App-Version"]
    )
    """The request headers that those pages may send, as a comma list, beside the contract's and those of tracing."""
    trusted_proxies: Annotated[list[TrustedNetwork], NoDecode, CommaList] = Field(
        default_factory=list, examples=["10.0.0.0/8,192.168.0.0/16"]
    )
    """The networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, or their `Forwarded` where there is no
    `X-Forwarded-For`, which a proxy that writes `Forwarded` has to remove; a comma list."""

    redis_url: Annotated[RedisUrl | None, NoDecode] = None
    """The Redis or Valkey that the gateways share, by `redis://` or, over TLS, `rediss://`; without it, limits hold for
    each process alone."""
    rate_limits: Annotated[
        dict[str, Policy],
        NoDecode,
        named_entries(parse_policy),
        Field(validate_default=True, examples=["user=600/60s,user-write=120/60s,auth-failure=30/60s"]),
    ] = "user=600/60s,user-write=120/60s,auth-failure=30/60s"  # type: ignore[assignment]  # read as from outside
    """Requests of each user, writes of each user, and failed authentications of each client address, as
    `name=limit/seconds`; what is left out is not limited."""
    on_redis_failure: RedisFailure = "local"
    """What happens while Redis cannot be reached: each process limits by itself, nothing is limited, or every request
    is refused."""
    replicas_hint: Annotated[int, Field(ge=1)] = 1
    """By how much the limits are divided while each process limits by itself."""

    max_body_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    """Bytes of a request's body, 1 MiB; an import may have five times as many."""
    max_buffered_bytes: Annotated[int, Field(gt=0)] = 128 << 20
    """Bytes of all bodies together, 128 MiB; beyond that 503."""
    max_buffered_bytes_per_user: Annotated[Annotated[int, Field(gt=0)] | None, Field(validate_default=True)] = None
    """Bytes of one user's bodies together, by default an eighth of all; beyond that 429. An import must fit."""
    max_in_flight: Annotated[int, Field(gt=0)] = 512
    """Requests at the todo service at once; beyond that 503."""
    max_in_flight_per_user: Annotated[int, Field(gt=0)] | None = None
    """Requests of one user at the todo service at once, by default an eighth of all; beyond that 429."""

    @field_validator("max_buffered_bytes_per_user", "max_in_flight_per_user")
    @classmethod
    def _a_share_is_a_part(cls, value: int | None, info: ValidationInfo) -> int | None:
        whole = (info.field_name or "").removesuffix("_per_user")
        total = info.data.get(whole)
        if value is not None and total is not None and value > total:
            raise ValueError(f"is more than GATEWAY_{whole.upper()}, of which it is a part")
        return value

    @field_validator("max_buffered_bytes_per_user")
    @classmethod
    def _the_largest_body_fits_into_a_share(cls, value: int | None, info: ValidationInfo) -> int | None:
        body, total = info.data.get("max_body_bytes"), info.data.get("max_buffered_bytes")
        if body is None or total is None:
            return value
        share, largest = share_of(total, value), body * IMPORT_TIMES
        if share < largest:
            raise ValueError(
                f"is {share}, by default an eighth of GATEWAY_MAX_BUFFERED_BYTES; an import may have {largest} bytes, "
                f"{IMPORT_TIMES} times GATEWAY_MAX_BODY_BYTES, and must fit"
            )
        return value

    @field_validator("jwks_file")
    @classmethod
    def _the_file_names_trusted_issuers(cls, value: dict[str, object], info: ValidationInfo) -> object:
        issuers = info.data.get("issuers")
        trusted = {issuer.issuer for issuer in issuers} if issuers else {info.data.get("issuer")}
        raise_entry_faults((issuer, "is not a trusted issuer") for issuer in value if issuer not in trusted)
        return value
