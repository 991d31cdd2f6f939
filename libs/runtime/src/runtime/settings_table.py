"""The settings of a service as a table in Markdown, from their classes and docstrings."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Annotated, Literal, TypeAliasType, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from runtime.settings import setting_name

_HEAD = "| setting | default | value | meaning | read by |\n|---|---|---|---|---|"


def settings_table(commands: Mapping[str, type[BaseSettings]]) -> str:
    """One row for each setting that any of `commands`, each with its class, reads; in the order of the classes.

    Raises:
        TypeError: a setting has no docstring, or a type that needs `Field(examples=…)` to show what it takes.
    """
    rows: dict[str, dict[str, FieldInfo]] = {}
    for command, kind in commands.items():
        for field, info in kind.model_fields.items():
            rows.setdefault(setting_name(kind, field), {})[command] = info
    return "\n".join([_HEAD, *(_row(name, readers) for name, readers in rows.items())])


def _row(name: str, readers: Mapping[str, FieldInfo]) -> str:
    info = next(iter(readers.values()))
    value = _value(info)
    if not info.description or value is None:
        raise TypeError(f"{name} needs a docstring, and an example where its type does not say what it takes")
    meaning, read_by = " ".join(info.description.split()), " ".join(f"`{command}`" for command in readers)
    cells = (f"`{name}`", _default(info, readers), value, meaning, read_by)
    return f"| {' | '.join(cell.replace('|', '\\|') for cell in cells)} |"


def _default(info: FieldInfo, readers: Mapping[str, FieldInfo]) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True)
    shown = str(default).lower() if isinstance(default, bool) else default
    requiring = "".join(f", required by `{command}`" for command, other in readers.items() if other.is_required())
    return ("none" if default in (None, [], {}) else f"`{shown}`") + requiring


def _value(info: FieldInfo) -> str | None:
    kind, below = _resolved(info.annotation)
    fields = [info, *below]
    examples = next((field.examples for field in fields if field.examples), None)
    if examples:
        return " or ".join(f"`{example}`" for example in examples)
    if get_origin(kind) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is bool:
        return "`true` `false`"
    if kind is int or kind is float:
        noun = "whole number" if kind is int else "number"
        return noun + _bounds([one for field in fields for one in field.metadata])
    return None


def _resolved(annotation: object) -> tuple[object, list[FieldInfo]]:
    """The type below aliases, annotations and `| None`, and the fields that describe it on the way."""
    if isinstance(annotation, TypeAliasType):
        return _resolved(annotation.__value__)
    if get_origin(annotation) is Annotated:
        kind, fields = _resolved(get_args(annotation)[0])
        return kind, [*fields, *(one for one in get_args(annotation)[1:] if isinstance(one, FieldInfo))]
    if get_args(annotation)[1:] == (NoneType,):
        return _resolved(get_args(annotation)[0])
    return annotation, []


def _bounds(metadata: Sequence[object]) -> str:
    words = (("ge", "from"), ("gt", "above"), ("le", "to"))
    return "".join(f" {word} {getattr(one, name)}" for name, word in words for one in metadata if hasattr(one, name))
