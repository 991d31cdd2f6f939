"""Every setting of the gateway."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, UrlConstraints, model_validator
from pydantic.networks import AnyUrl
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.limits.policy import Policy, parse_policies
from identity import Keyring
from runtime.settings import CommaList, Port

type Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "EdDSA"]
type RedisFailure = Literal["local", "open", "closed"]
type LogLevel = Literal["debug", "info", "warning", "error"]


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
    return url


RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]


def _keyring(value: object) -> object:
    return Keyring.parse(value) if isinstance(value, str) else value


def _policies(value: object) -> object:
    return parse_policies(value) if isinstance(value, str) else value


class Settings(BaseSettings):
    """Read from `GATEWAY_…`; seconds and bytes are plain numbers."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", env_ignore_empty=True, frozen=True, arbitrary_types_allowed=True
    )

    host: str = "0.0.0.0"
    port: Port = 8000
    admin_port: Port = 9000

    issuer: Annotated[str, Field(min_length=1)]
    audience: Annotated[list[str], NoDecode, CommaList, Field(min_length=1)]
    user_claim: Annotated[str, Field(min_length=1)] = "sub"
    jwks_url: HttpUrl | None = None
    algorithms: Annotated[list[Algorithm], NoDecode, CommaList, Field(min_length=1)] = ["RS256"]
    allow_http_jwks: bool = False
    token_max_lifetime: Annotated[int, Field(gt=0)] = 24 * 3600

    public_url: PlainHttpUrl | None = None
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

    @model_validator(mode="after")
    def _keys_come_over_https(self) -> "Settings":
        sources = {"GATEWAY_JWKS_URL": str(self.jwks_url)} if self.jwks_url else {"GATEWAY_ISSUER": self.issuer}
        for name, url in sources.items():
            if not url.startswith(("https://", "http://")):
                raise ValueError(f"{name} must be a URL; where the issuer is none, set GATEWAY_JWKS_URL")
            if url.startswith("http://") and not self.allow_http_jwks:
                raise ValueError(f"{name} must be https; http takes GATEWAY_ALLOW_HTTP_JWKS=true, for local stacks")
        return self
