"""A secret comes from the environment or from a file that is named as the setting."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import NoDecode, SettingsConfigDict

from runtime import settings
from runtime.settings import CommaList, Json, Settings, load, named_entries

SECRET = "hunter2"


def parse(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal():
        raise ValueError("is not of the form name=1")
    return name, int(number)


class Example(Settings):
    model_config = SettingsConfigDict(env_prefix="EXAMPLE_")

    password: SecretStr
    level: int = 1
    names: list[str] = Field(default_factory=list)
    networks: Annotated[list[int], NoDecode, CommaList] = Field(default_factory=list)
    limits: Annotated[dict[str, int], NoDecode, named_entries(parse)] = Field(default_factory=dict)
    document: Annotated[dict[str, list[int]], NoDecode, Json] = Field(default_factory=dict)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "SECRETS", tmp_path)
    return tmp_path


def password(loaded: Example) -> str:
    return loaded.password.get_secret_value()


def faults(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as stopped:
        load(Example)
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("name", ["EXAMPLE_PASSWORD", "example_password"])
def test_a_file_of_the_settings_name_gives_its_value_without_the_last_newline(secrets: Path, name: str) -> None:
    (secrets / name).write_text(f"{SECRET}\n")
    assert password(load(Example)) == SECRET


def test_the_environment_comes_first_unless_it_is_empty(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "EXAMPLE_PASSWORD").write_text("from the file")
    monkeypatch.setenv("EXAMPLE_PASSWORD", "from the environment")
    assert password(load(Example)) == "from the environment"
    monkeypatch.setenv("EXAMPLE_PASSWORD", "")
    assert password(load(Example)) == "from the file"


def test_without_a_folder_of_secrets_the_environment_is_all(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets.rmdir()
    monkeypatch.setenv("EXAMPLE_PASSWORD", SECRET)
    assert password(load(Example)) == SECRET


def test_other_files_and_folders_there_are_not_looked_at(secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (secrets / "kubernetes.io").mkdir()
    (secrets / "PASSWORD").write_text(SECRET)
    (secrets / "EXAMPLE_PASSWORD.old").write_text(SECRET)
    assert faults(capsys) == ["EXAMPLE_PASSWORD: is required"]


def test_a_wrong_value_in_a_file_is_reported_with_all_other_faults_and_never_shown(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (secrets / "EXAMPLE_LEVEL").write_text(SECRET)
    told = faults(capsys)
    assert [line.partition(":")[0] for line in told] == ["EXAMPLE_PASSWORD", "EXAMPLE_LEVEL"]
    assert SECRET not in "".join(told)


@pytest.mark.parametrize(
    ("name", "content"), [("EXAMPLE_NAMES", SECRET.encode()), ("EXAMPLE_PASSWORD", SECRET.encode() + b"\xff")]
)
def test_a_file_that_cannot_be_read_is_reported_by_its_setting_and_never_shown(
    secrets: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (secrets / name).write_bytes(content)
    [told] = faults(capsys)
    assert name.removeprefix("EXAMPLE_").lower() in told
    assert SECRET not in told


def test_every_wrong_entry_is_reported_by_its_position_beside_every_other_fault(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXAMPLE_NETWORKS", f"1, {SECRET}, ,3,{SECRET}")
    monkeypatch.setenv("EXAMPLE_LIMITS", f"a=1,{SECRET},b=2,a=3")
    monkeypatch.setenv("EXAMPLE_DOCUMENT", f'{{"a": [1, "{SECRET}"]}}')
    assert faults(capsys) == [
        "EXAMPLE_PASSWORD: is required",
        "entry 2 of EXAMPLE_NETWORKS: must be a valid integer, unable to parse string as an integer",
        "entry 4 of EXAMPLE_NETWORKS: must be a valid integer, unable to parse string as an integer",
        "entry 2 of EXAMPLE_LIMITS: is not of the form name=1",
        "entry 4 of EXAMPLE_LIMITS: repeats the name of an earlier entry",
        "entry 2 of a of EXAMPLE_DOCUMENT: must be a valid integer, unable to parse string as an integer",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f'{{"a": {SECRET}', "is not JSON (line 1 column 7)"),
        ("[" * 100_000, "is nested too deep"),
        ("[]", "must be a valid dictionary"),
    ],
)
def test_json_that_cannot_be_read_is_a_fault_of_its_setting(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    monkeypatch.setenv("EXAMPLE_DOCUMENT", text)
    assert faults(capsys) == ["EXAMPLE_PASSWORD: is required", f"EXAMPLE_DOCUMENT: {fault}"]


def test_lists_named_entries_and_json_are_read(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"PASSWORD": SECRET, "NETWORKS": "1, 2", "LIMITS": "a=1,b=2", "DOCUMENT": '{"a": [1]}'}.items():
        monkeypatch.setenv(f"EXAMPLE_{name}", text)
    loaded = load(Example)
    assert (loaded.networks, loaded.limits, loaded.document) == ([1, 2], {"a": 1, "b": 2}, {"a": [1]})
