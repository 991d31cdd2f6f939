"""Settings from the environment, all faults told at once."""

import sys
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings

type Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes any free one, which the log names."""


def _comma_list(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


CommaList = BeforeValidator(_comma_list)
"""Reads `a,b` as a list; needs `NoDecode` beside it."""


def load[Settings: BaseSettings](kind: type[Settings]) -> Settings:
    """Read the environment.

    Raises:
        SystemExit: 2, after every fault was written to standard error, a line each, without its value.
    """
    try:
        return kind()
    except ValidationError as error:
        prefix = str(kind.model_config.get("env_prefix", ""))
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            name = prefix + "_".join(str(part) for part in fault["loc"]).upper() if fault["loc"] else "settings"
            message = "is required" if fault["type"] == "missing" else fault["msg"].removeprefix("Value error, ")
            print(f"{name}: {message}", file=sys.stderr)  # noqa: T201 - before logging is configured
        raise SystemExit(2) from None
