"""Settings from the environment and from files of secrets; all faults are reported at once."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

type Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes any free one, which is logged."""
type LogLevel = Literal["debug", "info", "warning", "error"]

SECRETS = Path("/run/secrets")
"""Where container engines mount secrets: a file for each setting, named as the setting in any case."""


class Settings(BaseSettings):
    """What the settings of every command have in common: the docstring of each says what it is for."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )


class ListenSettings(Settings):
    """What serving takes in each service, whose class gives the two ports their defaults."""

    host: Annotated[str, Field(examples=["0.0.0.0", "::"])] = "0.0.0.0"
    """The address to listen on; `::` is every address of IPv6 and IPv4."""
    port: Port
    admin_port: Port
    log_level: LogLevel = "info"
    """The lowest level that is logged; `info` has a line for each request."""
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 5
    """Seconds to go on serving after SIGTERM, unready, so that routers notice."""


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _comma_list(value: object) -> object:
    return _entries(value) if isinstance(value, str) else value


CommaList = BeforeValidator(_comma_list)
"""Reads `a,b` as a list; needs `NoDecode` beside it."""


def _json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError as error:
        place = f" (line {error.lineno} column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"is not JSON{place}") from None


Json = BeforeValidator(_json)
"""Reads JSON, whose fault is then one beside those of other settings; needs `NoDecode` beside it."""


def named_entries[Value](parse: Callable[[str], tuple[str, Value]]) -> BeforeValidator:
    """Reads a comma list of named entries as a dict; needs `NoDecode` beside it.

    `parse` gives name and value of an entry, or raises `ValueError` with words that do not quote it.
    """

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        named: dict[str, Value] = {}
        faults: list[tuple[int, str]] = []
        for position, entry in enumerate(_entries(value)):
            try:
                name, parsed = parse(entry)
                if name in named:
                    raise ValueError("repeats the name of an earlier entry")
            except ValueError as error:
                faults.append((position, str(error)))
            else:
                named[name] = parsed
        raise_entry_faults(faults)
        return named

    return BeforeValidator(read)


def raise_entry_faults(faults: Iterable[tuple[int | str, str]]) -> None:
    """For a validator: raise `faults`, if there are any, each with the position of an entry from 0, or with its key."""
    details = [
        InitErrorDetails(type=PydanticCustomError("entry", "{reason}", {"reason": reason}), loc=(place,), input=None)
        for place, reason in faults
    ]
    if details:
        raise ValidationError.from_exception_data("entries", details)


def load[Kind: BaseSettings](kind: type[Kind]) -> Kind:
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
        for line in fault_lines(kind, error):
            print(line, file=sys.stderr)  # noqa: T201 - before logging is configured
        raise SystemExit(2) from None


def fault_lines(kind: type[BaseSettings], error: ValidationError) -> Iterator[str]:
    """A line for each fault: the setting, the entry where it is a list, and what is wrong; never its value."""
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        yield f"{_place(kind, fault['loc'])}: {_words(fault)}"


def _place(kind: type[BaseSettings], location: tuple[int | str, ...]) -> str:
    if not location:
        return "settings"
    place = setting_name(kind, str(location[0]))
    for part in location[1:]:
        place = f"entry {part + 1} of {place}" if isinstance(part, int) else f"{part} of {place}"
    return place


def setting_name(kind: type[BaseSettings], field: str) -> str:
    """The name of the environment variable."""
    return f"{kind.model_config.get('env_prefix', '')}{field}".upper()


def _words(fault: ErrorDetails) -> str:
    if fault["type"] in _WORDS:
        return _WORDS[fault["type"]]
    message = fault["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "must be", 1)


_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "too_short": "is empty",
    "string_too_short": "is empty",
}
