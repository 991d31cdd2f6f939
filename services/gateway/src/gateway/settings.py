"""Every setting of the gateway."""

import json
import re
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    UrlConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.networks import AnyUrl
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.keys.jwks import Key, parse_jwks
from gateway.limits.limiter import RedisFailure
from gateway.limits.policy import Policy, parse_policies
from gateway.limits.redis_limits import redis_client
from gateway.proxies import Network
from gateway.token.scopes import parse_scopes
from identity import Keyring
from runtime.settings import CommaList, Port

type Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA"]
type LogLevel = Literal["debug", "info", "warning", "error"]

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


HttpUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)]
PlainHttpUrl = Annotated[HttpUrl, AfterValidator(_plain)]
UpstreamUrl = Annotated[
    AnyUrl,
    UrlConstraints(allowed_schemes=["http"], host_required=True),
    AfterValidator(_plain),
    AfterValidator(_without_path),
]


def _redis(url: SecretStr) -> SecretStr:
    if not url.get_secret_value().startswith(("redis://", "rediss://")):
        raise ValueError("must start with redis:// or rediss://")
    try:
        redis_client(url.get_secret_value()).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):
        # their messages may quote the password
        raise ValueError("is no URL that the Redis client can read") from None
    return url


def _origin(origin: str) -> str:
    parts = _ORIGIN.fullmatch(origin)
    if parts is None or parts.groups() in _DEFAULT_PORTS:
        raise ValueError(
            "each is an origin as a browser writes it: scheme://host[:port] in lower case, no path, no default port"
        )
    return origin


def _field_name(name: str) -> str:
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError("each is the name of a header")
    return name


def _network(text: str) -> Network:
    return ip_network(text)


RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]
Origin = Annotated[str, AfterValidator(_origin)]
FieldName = Annotated[str, AfterValidator(_field_name)]
Audiences = Annotated[list[str], NoDecode, CommaList, Field(min_length=1)]
Algorithms = Annotated[list[Algorithm], NoDecode, CommaList, Field(min_length=1)]
TrustedNetwork = Annotated[Network, BeforeValidator(_network)]


def _keyring(value: object) -> object:
    return Keyring.parse(value) if isinstance(value, str) else value


def _policies(value: object) -> object:
    return parse_policies(value) if isinstance(value, str) else value


def _scopes(value: object) -> object:
    return parse_scopes(value) if isinstance(value, str) else value


def _jwks_file(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        document = json.loads(Path(value).read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("is not of the form {issuer: jwks}")  # noqa: TRY004 - pydantic takes ValueError for a fault
    return {issuer: parse_jwks(jwks) for issuer, jwks in document.items()}


class Issuer(BaseModel):
    """One identity provider whose tokens are accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, Field(min_length=1)]
    audience: Audiences
    user_claim: Annotated[str, Field(min_length=1)] = "sub"
    user_prefix: Annotated[str, Field(pattern=r"^[\x21-\x7e]{0,64}$")] = ""
    jwks_url: HttpUrl | None = None
    algorithms: Algorithms = ["RS256"]

    @property
    def keys_origin(self) -> str:
        """The URL that the keys are found from."""
        return str(self.jwks_url) if self.jwks_url else self.issuer


_FAULTY = object()
"""Sentinel: the setting failed its own validation, which is reported separately."""


def _told_apart(issuers: list[Issuer] | None) -> list[Issuer] | None:
    if issuers is None:
        return None
    if not issuers:
        raise ValueError("is empty")
    if len({issuer.issuer for issuer in issuers}) < len(issuers):
        raise ValueError("names an issuer twice")
    prefixes = sorted(issuer.user_prefix for issuer in issuers)
    if any(later.startswith(earlier) for earlier, later in pairwise(prefixes)):
        raise ValueError("has a user_prefix that begins with another: two users could be taken for one")
    return issuers


class Settings(BaseSettings):
    """Read from `GATEWAY_…`; durations are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", env_ignore_empty=True, frozen=True, arbitrary_types_allowed=True
    )

    host: str = "0.0.0.0"
    port: Port = 8000
    admin_port: Port = 9000

    # a setting that later ones are checked against comes first, so that all faults are reported at once
    allow_http_jwks: bool = False
    issuers: Annotated[list[Issuer] | None, AfterValidator(_told_apart)] = None
    jwks_url: HttpUrl | None = None
    issuer: Annotated[str | None, Field(validate_default=True)] = None
    audience: Annotated[Audiences | None, NoDecode, CommaList, Field(validate_default=True)] = None
    user_claim: str | None = None
    algorithms: Annotated[Algorithms | None, NoDecode, CommaList] = None
    jwks_file: Annotated[dict[str, dict[str, Key]], NoDecode, BeforeValidator(_jwks_file)] = {}
    token_max_lifetime: Annotated[int, Field(gt=0)] = 24 * 3600
    required_scopes: Annotated[dict[str, str], NoDecode, BeforeValidator(_scopes)] = {}

    public_url: PlainHttpUrl | None = None
    cors_origins: Annotated[list[Origin], NoDecode, CommaList] = []
    cors_headers: Annotated[list[FieldName], NoDecode, CommaList] = []
    trusted_proxies: Annotated[list[TrustedNetwork], NoDecode, CommaList] = []
    upstream_url: UpstreamUrl
    upstream_timeout: Annotated[float, Field(gt=0)] = 10
    identity_keys: Annotated[Keyring, NoDecode, BeforeValidator(_keyring)]

    redis_url: RedisUrl | None = None
    rate_limits: Annotated[dict[str, Policy], NoDecode, BeforeValidator(_policies), Field(validate_default=True)] = (
        "user=600/60s,user-write=120/60s,auth-failure=30/60s"  # type: ignore[assignment]  # read as from outside
    )
    on_redis_failure: RedisFailure = "local"
    replicas_hint: Annotated[int, Field(ge=1)] = 1

    max_body_bytes: Annotated[int, Field(gt=0)] = 1 << 20
    max_buffered_bytes: Annotated[int, Field(gt=0)] = 128 << 20
    max_in_flight: Annotated[int, Field(gt=0)] = 512

    log_level: LogLevel = "info"
    drain_seconds: Annotated[float, Field(ge=0)] = 5
    keepalive_seconds: Annotated[int, Field(gt=0)] = 75

    @property
    def trusted_issuers(self) -> list[Issuer]:
        """`GATEWAY_ISSUERS`, or the one issuer of the single settings."""
        if self.issuers is not None:
            return self.issuers
        assert self.issuer is not None  # noqa: S101 - checked when the settings were read
        assert self.audience is not None  # noqa: S101
        return [
            Issuer(
                issuer=self.issuer,
                audience=self.audience,
                user_claim=self.user_claim or "sub",
                jwks_url=self.jwks_url,
                algorithms=self.algorithms or ["RS256"],
            )
        ]

    @field_validator("issuer", "audience", "user_claim", "jwks_url", "algorithms")
    @classmethod
    def _one_way_to_name_issuers(cls, value: object, info: ValidationInfo) -> object:
        issuers = info.data.get("issuers", _FAULTY)
        if value is not None and isinstance(issuers, list):
            raise ValueError("cannot be set beside GATEWAY_ISSUERS")
        if value is None and issuers is None and info.field_name in ("issuer", "audience"):
            raise ValueError("is required, unless GATEWAY_ISSUERS is set")
        return value

    @field_validator("issuers", "issuer", "jwks_url")
    @classmethod
    def _keys_come_over_https(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, list):
            origins = [issuer.keys_origin for issuer in value]
        elif value is None or (info.field_name == "issuer" and info.data.get("jwks_url", _FAULTY) is not None):
            origins = []
        else:
            origins = [str(value)]
        for origin in origins:
            if not origin.startswith(("https://", "http://")):
                raise ValueError("is no URL: where an issuer is none, a JWKS URL must say where its keys are")
            if origin.startswith("http://") and not info.data.get("allow_http_jwks", _FAULTY):
                raise ValueError("must be https; http takes GATEWAY_ALLOW_HTTP_JWKS=true, for local stacks alone")
        return value

    @field_validator("jwks_file")
    @classmethod
    def _the_file_names_trusted_issuers(cls, value: dict[str, object], info: ValidationInfo) -> object:
        issuers = info.data.get("issuers")
        trusted = {issuer.issuer for issuer in issuers} if issuers else {info.data.get("issuer")}
        unknown = value.keys() - trusted
        if unknown:
            raise ValueError(f"names issuers that are not trusted: {', '.join(sorted(unknown))}")
        return value
