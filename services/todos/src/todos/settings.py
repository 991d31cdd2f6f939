"""The settings of each command, from `TODOS_…`; durations are in seconds."""

from typing import Annotated
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from identity import Keyring, parse_key
from runtime.settings import ListenSettings, Port, Settings, named_entries


def _checked(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    try:
        valid = urlsplit(text).scheme in ("postgresql", "postgres") and bool(conninfo_to_dict(text).get("user"))
    except (ValueError, psycopg.Error):
        valid = False
    if not valid:
        raise ValueError("is not of the form postgresql://user:password@host:port/database")
    return url


def _keyring(keys: object) -> object:
    return Keyring(keys) if isinstance(keys, dict) else keys


DatabaseUrl = Annotated[
    SecretStr, AfterValidator(_checked), Field(examples=["postgresql://role:password@db.example.com:5432/todos"])
]


class DatabaseSettings(Settings):
    """What serving and migrating have in common."""

    model_config = SettingsConfigDict(env_prefix="TODOS_")

    database_url: DatabaseUrl
    """The role that serves: it owns nothing and cannot bypass row-level security."""
    statement_timeout: Annotated[float, Field(ge=0.1, le=60)] = 5
    """Seconds that one statement may take; `todos migrate` sets it on the role as well."""


class ServeSettings(ListenSettings, DatabaseSettings):
    """What `todos serve` and `todos check` read."""

    port: Port = 8001
    """The port for requests of the gateway; 0 takes any free one, which is logged."""
    admin_port: Port = 9001
    """The port for health and metrics; never route it from outside."""
    identity_keys: Annotated[
        Keyring, NoDecode, BeforeValidator(_keyring), named_entries(parse_key), Field(examples=["k1:…,k2:…"])
    ]
    """The keys shared with the gateway, as `id:key` with at least 32 bytes in base64url; any of them verifies."""
    search_timeout: Annotated[float, Field(ge=0.1, le=60)] = 2
    """Seconds that one statement with `q` may take, which reads every todo of a user; `statement_timeout`, if less."""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    """Database connections at most."""
    pool_share: Annotated[int, Field(ge=1)] | None = None
    """Connections that one user may hold, by default a third of all, at least 1; beyond that 429."""

    @field_validator("pool_share")
    @classmethod
    def _a_share_is_a_part(cls, value: int | None, info: ValidationInfo) -> int | None:
        total = info.data.get("pool_size")
        if value is not None and total is not None and value > total:
            raise ValueError("is more than TODOS_POOL_SIZE, of which it is a part")
        return value


class MigrateSettings(DatabaseSettings):
    """What `todos migrate` reads; `database_url` names the role that is granted what serving takes."""

    migration_database_url: DatabaseUrl
    """The owner of the schema, straight to the server and past any pooler."""
    maintenance_database_url: DatabaseUrl | None = None
    """The role that purges: it owns nothing. `todos migrate` lets it see and delete what is to be purged, no more."""


class PurgeSettings(Settings):
    """What `todos purge` reads."""

    model_config = SettingsConfigDict(env_prefix="TODOS_")

    maintenance_database_url: DatabaseUrl
    """The role that purges."""
    tombstone_days: Annotated[int, Field(ge=1, le=36500)] = 90
    """Days for which a deleted todo can be restored, and after which a client that has not synced must start over."""
