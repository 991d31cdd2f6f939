"""The settings of each command, from the environment."""

from typing import Literal
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from identity import Keyring
from runtime.settings import Port


def _checked_database_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        valid = urlsplit(text).scheme in ("postgresql", "postgres") and bool(conninfo_to_dict(text).get("user"))
    except (ValueError, psycopg.Error):
        valid = False
    if not valid:
        raise ValueError("is not of the form postgresql://user:password@host:port/database")
    return value


class DatabaseSettings(BaseSettings):
    """What `todos check` needs."""

    model_config = SettingsConfigDict(env_prefix="TODOS_", env_ignore_empty=True, frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    database_url: SecretStr
    """The role that serves: it owns nothing and cannot bypass row-level security."""
    statement_timeout: float = Field(default=5, ge=0.1, le=60)
    """Seconds that one statement may take."""

    _check_database_url = field_validator("database_url")(_checked_database_url)


class ServeSettings(DatabaseSettings):
    """What `todos serve` needs."""

    host: str = "0.0.0.0"
    port: Port = 8001
    admin_port: Port = 9001
    drain_seconds: float = Field(default=5, ge=0, le=300)
    identity_keys: SecretStr
    """`kid:base64url[,kid:base64url…]`; any of them verifies."""
    pool_size: int = Field(default=10, ge=1, le=1000)
    """Database connections at most."""

    @field_validator("identity_keys")
    @classmethod
    def _check_identity_keys(cls, value: SecretStr) -> SecretStr:
        Keyring.parse(value.get_secret_value())
        return value

    @property
    def keyring(self) -> Keyring:
        return Keyring.parse(self.identity_keys.get_secret_value())


class MigrateSettings(DatabaseSettings):
    """What `todos migrate` needs; `database_url` names the role that is granted what serving takes."""

    migration_database_url: SecretStr
    """The owner's, straight to the server and past any pooler."""

    maintenance_database_url: SecretStr | None = None
    """Names the role that is let purge; without it, none is."""

    _check_migration_url = field_validator("migration_database_url")(_checked_database_url)

    @field_validator("maintenance_database_url")
    @classmethod
    def _check_maintenance_url(cls, value: SecretStr | None) -> SecretStr | None:
        return value and _checked_database_url(value)


class PurgeSettings(BaseSettings):
    """What `todos purge` needs."""

    model_config = SettingsConfigDict(env_prefix="TODOS_", env_ignore_empty=True, frozen=True)

    maintenance_database_url: SecretStr
    """The role of the job: it sees and deletes what is to be purged, and nothing else."""
    tombstone_days: int = Field(default=90, ge=1, le=36500)
    """How long a deleted todo can be restored, and a client that has not synced go on without starting anew."""

    _check_maintenance_url = field_validator("maintenance_database_url")(_checked_database_url)
