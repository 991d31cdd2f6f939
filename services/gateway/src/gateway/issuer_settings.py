"""The settings that say whose tokens are accepted; every command reads them."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    UrlConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.networks import AnyUrl
from pydantic_settings import NoDecode, SettingsConfigDict

from gateway.keys.jwks_fetch import address_of
from gateway.token.claims import ClaimValue
from gateway.token.user_ids import UserIds
from runtime.settings import CommaList, Json, Settings, raise_entry_faults

type Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]

HttpUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)]
Audiences = Annotated[list[str], NoDecode, CommaList, Field(min_length=1)]
Algorithms = Annotated[list[Algorithm], NoDecode, CommaList, Field(min_length=1)]


_TOKEN_TYPE = re.compile(r"(?:(?:application/)?[a-z0-9!#$&^_.+-]+)?", re.IGNORECASE | re.ASCII)
DEFAULT_TYPES = "JWT,at+jwt,"


def _with_empty(value: object) -> object:
    return [entry.strip() for entry in value.split(",")] if isinstance(value, str) else value


def _token_type(typ: str) -> str:
    if not _TOKEN_TYPE.fullmatch(typ):
        raise ValueError("is not the name of a media type")
    return typ


def _claim_value(value: object) -> object:
    if not isinstance(value, str | int):
        raise ValueError("must be a string, a whole number or a boolean")  # noqa: TRY004 - pydantic takes ValueError
    return value


TokenTypes = Annotated[
    list[Annotated[str, AfterValidator(_token_type)]],
    NoDecode,
    BeforeValidator(_with_empty),
    Field(min_length=1, examples=["at+jwt", DEFAULT_TYPES]),
]
"""An empty entry stands for a token without `typ`."""
RequiredClaims = Annotated[dict[str, Annotated[ClaimValue, BeforeValidator(_claim_value)]], NoDecode, Json]

_FAULTY = object()
"""Sentinel: the setting failed its own validation, which is reported separately."""


class Issuer(BaseModel):
    """One identity provider whose tokens are accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Annotated[str, Field(min_length=1)]
    audience: Audiences
    user_claim: Annotated[str, Field(min_length=1)] = "sub"
    user_prefix: Annotated[str, Field(pattern=r"^[\x21-\x7e]{0,64}$")] = ""
    jwks_url: HttpUrl | None = None
    algorithms: Algorithms = ["RS256"]
    names: list[Annotated[str, Field(min_length=1)]] = []
    token_types: TokenTypes | None = None
    required_claims: RequiredClaims | None = None

    @property
    def all_names(self) -> frozenset[str]:
        """The values of `iss` in its tokens."""
        return frozenset([self.issuer, *self.names])

    @property
    def keys_origin(self) -> str:
        """The URL that the keys are found from."""
        return str(self.jwks_url) if self.jwks_url else self.issuer


class IssuerSettings(Settings):
    """One issuer, or several."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    # a setting that later ones are checked against comes first, so that all faults are reported at once
    allow_http_jwks: bool = False
    """Whether keys may be fetched over http, for local stacks alone."""
    issuers: Annotated[
        list[Issuer] | None,
        NoDecode,
        Json,
        Field(examples=['[{"issuer": "https://id.example.com", "audience": "todos", "user_prefix": "example:"}]']),
    ] = None
    """Several issuers, as a JSON list, instead of the five settings below. An entry has the members `issuer`,
    `audience`, `jwks_url`, `algorithms`, `user_claim`, and `user_prefix`, which keeps the users of issuers apart; one
    entry may do without. `names` are further values of `iss` for the same users, and `token_types` and
    `required_claims` take the place of the settings of that name."""
    jwks_url: Annotated[HttpUrl | None, Field(examples=["https://id.example.com/jwks.json"])] = None
    """Where the issuer's keys are; found by OpenID Connect discovery where it is not set."""
    issuer: Annotated[str | None, Field(validate_default=True, examples=["https://id.example.com"])] = None
    """The `iss` of tokens, to the letter. Required, unless `GATEWAY_ISSUERS` is set."""
    audience: Annotated[
        Audiences | None, NoDecode, CommaList, Field(validate_default=True, examples=["todos", "todos,api"])
    ] = None
    """The `aud` of tokens, or a comma list of which one must match. Required, unless `GATEWAY_ISSUERS` is set."""
    user_claim: Annotated[str | None, Field(examples=["user_id"])] = None
    """The claim that holds the user id; `sub` where it is not set."""
    algorithms: Annotated[Algorithms | None, NoDecode, CommaList, Field(examples=["RS256,EdDSA"])] = None
    """The algorithms that tokens may be signed with, out of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384,
    ES512 and EdDSA (also written Ed25519); RS256 where it is not set. Better Auth signs with EdDSA unless configured
    otherwise."""

    token_types: Annotated[TokenTypes, Field(validate_default=True)] = DEFAULT_TYPES  # type: ignore[assignment]  # read as from outside
    """The types (`typ`) that tokens may have, as a comma list, in any case and with `application/` before them or not;
    an empty entry is for tokens without one."""
    required_claims: Annotated[RequiredClaims, Field(examples=['{"token_use": "access"}'])] = Field(
        default_factory=dict
    )
    """Claims that every token must have, as a JSON object: each with exactly this string, whole number or boolean."""
    leeway: Annotated[int, Field(ge=0, le=300)] = 10
    """By how many seconds the provider's clock may differ."""
    token_max_lifetime: Annotated[int, Field(gt=0)] = 24 * 3600
    """Seconds from `iat`, or without it from now, to `exp`; a revocation is kept for as long."""

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

    def user_ids(self, issuer: Issuer) -> UserIds:
        """How this issuer's users are told apart from those of the others."""
        prefixes = () if issuer.user_prefix else tuple(one.user_prefix for one in self.trusted_issuers if one != issuer)
        return UserIds(issuer.user_prefix, prefixes)

    @field_validator("issuers")
    @classmethod
    def _issuers_fit_together(cls, issuers: list[Issuer] | None, info: ValidationInfo) -> list[Issuer] | None:
        if issuers == []:
            raise ValueError("is empty")
        allow_http = bool(info.data.get("allow_http_jwks", _FAULTY))
        raise_entry_faults(
            (position, fault)
            for position, issuer in enumerate(issuers or [])
            for fault in _faults(issuer, (issuers or [])[:position], allow_http=allow_http)
        )
        return issuers

    @field_validator("issuer", "audience", "user_claim", "jwks_url", "algorithms")
    @classmethod
    def _one_way_to_name_issuers(cls, value: object, info: ValidationInfo) -> object:
        issuers = info.data.get("issuers", _FAULTY)
        if value is not None and isinstance(issuers, list):
            raise ValueError("cannot be set beside GATEWAY_ISSUERS")
        if value is None and issuers is None and info.field_name in ("issuer", "audience"):
            raise ValueError("is required, unless GATEWAY_ISSUERS is set")
        return value

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _keys_come_over_https(cls, value: object, info: ValidationInfo) -> object:
        begins_elsewhere = info.field_name == "issuer" and info.data.get("jwks_url", _FAULTY) is not None
        if value is None or begins_elsewhere:
            return value
        fault = _url_fault(str(value), allow_http=bool(info.data.get("allow_http_jwks", _FAULTY)))
        if fault is not None:
            raise ValueError(fault)
        return value


def _faults(issuer: Issuer, earlier: Sequence[Issuer], *, allow_http: bool) -> Iterator[str]:
    fault = _url_fault(issuer.keys_origin, allow_http=allow_http)
    if fault is not None:
        yield fault
    if any(other.all_names & issuer.all_names for other in earlier):
        yield "names the issuer of an earlier entry"
    if any(_confusable(issuer.user_prefix, other.user_prefix) for other in earlier):
        yield "has a user_prefix that begins like an earlier entry's: two users could be taken for one"


def _confusable(prefix: str, other: str) -> bool:
    if not prefix or not other:
        return prefix == other
    return prefix.startswith(other) or other.startswith(prefix)


def _url_fault(url: str, *, allow_http: bool) -> str | None:
    try:
        address_of(url)
    except ValueError as error:
        return f"{error}: for such an issuer, a JWKS URL must say where its keys are"
    if url.startswith("http://") and not allow_http:
        return "must be https; http takes GATEWAY_ALLOW_HTTP_JWKS=true, for local stacks alone"
    return None
