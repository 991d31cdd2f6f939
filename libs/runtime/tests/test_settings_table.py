"""A table of settings says of each what it is called, what it takes, what it does, and who reads it."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from runtime.settings import Port, Settings
from runtime.settings_table import settings_table


class One(Settings):
    model_config = SettingsConfigDict(env_prefix="X_")

    port: Port = 80
    """A port,
    in two lines."""
    mode: Literal["a", "b"] = "a"
    """A choice | of two."""
    on: bool = True
    """A switch."""
    share: Annotated[float, Field(gt=0, le=1)]
    """A share."""
    names: list[str] = Field(default_factory=list, examples=["a,b", "c"])
    """Names."""
    url: Annotated[SecretStr, Field(examples=["http://x"])] | None = None
    """An address."""


class Other(Settings):
    model_config = SettingsConfigDict(env_prefix="X_")

    url: Annotated[SecretStr, Field(examples=["http://x"])]
    """An address."""


def test_a_row_has_default_value_meaning_and_readers() -> None:
    head, _, *rows = settings_table({"one": One, "other": Other}).splitlines()
    assert head == "| setting | default | value | meaning | read by |"
    assert rows == [
        "| `X_PORT` | `80` | whole number from 0 to 65535 | A port, in two lines. | `one` |",
        "| `X_MODE` | `a` | `a` `b` | A choice \\| of two. | `one` |",
        "| `X_ON` | `true` | `true` `false` | A switch. | `one` |",
        "| `X_SHARE` | required | number above 0 to 1 | A share. | `one` |",
        "| `X_NAMES` | none | `a,b` or `c` | Names. | `one` |",
        "| `X_URL` | none, required by `other` | `http://x` | An address. | `one` `other` |",
    ]


def test_a_setting_without_docstring_or_example_is_refused() -> None:
    class Silent(Settings):
        port: Port = 80

    class Unclear(Settings):
        name: str = "x"
        """A name."""

    for kind, name in ((Silent, "PORT"), (Unclear, "NAME")):
        with pytest.raises(TypeError, match=name):
            settings_table({"one": kind})
