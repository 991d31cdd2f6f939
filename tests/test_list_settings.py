"""A wrong entry of any list setting of either service is named by its place and its setting."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

import gateway.settings
import todos.settings
from devtools.testing.tokens import Signer
from identity import Keyring
from runtime.settings import ListenSettings, Settings, load, setting_name

WRONG = "wrong\x7f"
"""No entry of any list, unless the list takes any text."""
FIRST = {"GATEWAY_IDENTITY_KEYS": f"k1:{'A' * 43}", "TODOS_IDENTITY_KEYS": f"k1:{'A' * 43}"}
"""Right entries of the lists whose example shows none."""


def settings_classes(parent: type[Settings] = Settings) -> Iterator[type[Settings]]:
    for kind in parent.__subclasses__():
        yield from settings_classes(kind)
        if kind is not ListenSettings and kind.__module__.partition(".")[0] in ("gateway", "todos"):
            yield kind


def collection_of(annotation: Any) -> Any:
    """The part of a type that holds several values, if it has one: `list[int]` of `list[int] | None`."""
    if annotation is Keyring or get_origin(annotation) in (list, dict, tuple, set, frozenset):
        return annotation
    return next((found for part in get_args(annotation) if (found := collection_of(part))), None)


LISTS = {
    setting_name(kind, field): (kind, info)
    for kind in settings_classes()
    for field, info in kind.model_fields.items()
    if collection_of(info.annotation)
}


def with_a_wrong_entry(name: str, info: FieldInfo, folder: Path) -> tuple[str, str]:
    """A value of the setting, the second entry of which is wrong, and the place of this entry."""
    assert info.examples
    example = FIRST.get(name, info.examples[0])
    if example.startswith("/"):
        file = folder / "file"
        file.write_text(json.dumps({"https://id.example.com": {"keys": [Signer().jwk()]}, WRONG: 1}))
        return str(file), f"{WRONG} of {name}"
    if example.startswith("["):
        return json.dumps([*json.loads(example), 1]), f"entry 2 of {name}"
    if example.startswith("{"):
        return json.dumps({**json.loads(example), WRONG: None}), f"{WRONG} of {name}"
    return f"{example.partition(',')[0]},{WRONG}", f"entry 2 of {name}"


def test_no_setting_that_is_split_by_hand_is_missing_here() -> None:
    split = {
        setting_name(kind, field)
        for kind in settings_classes()
        for field, info in kind.model_fields.items()
        if NoDecode in info.metadata
    }
    assert split - LISTS.keys() == {"GATEWAY_REDIS_URL"}
    assert {kind.__module__ for kind, _ in LISTS.values()} >= {gateway.settings.__name__, todos.settings.__name__}


@pytest.mark.parametrize("name", LISTS)
def test_a_wrong_entry_of_a_list_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, info = LISTS[name]
    value, place = with_a_wrong_entry(name, info, tmp_path)
    monkeypatch.setenv(name, value)
    with suppress(SystemExit):
        load(kind)
    places = [line.partition(": ")[0] for line in capsys.readouterr().err.splitlines()]
    takes_any_text = collection_of(info.annotation) == list[str]
    assert [one for one in places if one.endswith(name)] == ([] if takes_any_text else [place])
