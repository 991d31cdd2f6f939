"""Settings from the environment and from files of secrets; all faults are reported at once."""

import sys
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsError

type Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes any free one, which is logged."""


SECRETS = Path("/run/secrets")
"""Where container engines mount secrets: a file for each setting, named as the setting in any case."""


def _comma_list(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


CommaList = BeforeValidator(_comma_list)
"""Reads `a,b` as a list; needs `NoDecode` beside it."""


def load[Settings: BaseSettings](kind: type[Settings]) -> Settings:
    """Read the environment, and the files in `SECRETS` for settings that it does not have.

    Raises:
        SystemExit: 2, after writing every fault to standard error, one line each, without the value.
    """
    try:
        return kind(_secrets_dir=SECRETS if SECRETS.is_dir() else None)
    except SettingsError as error:
        # only the name of the cause: its message may quote what was read
        print(f"settings: {error} ({type(error.__cause__).__name__})", file=sys.stderr)  # noqa: T201 - as below
        raise SystemExit(2) from None
    except ValidationError as error:
        prefix = str(kind.model_config.get("env_prefix", ""))
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            name = prefix + "_".join(str(part) for part in fault["loc"]).upper() if fault["loc"] else "settings"
            message = "is required" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
            print(f"{name}: {message}", file=sys.stderr)  # noqa: T201 - before logging is configured
        raise SystemExit(2) from None
