"""A secret comes from the environment or from a file that is named as the setting."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime import settings
from runtime.settings import load

SECRET = "hunter2"


class Example(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="EXAMPLE_", env_ignore_empty=True)

    password: SecretStr
    level: int = 1
    names: list[str] = []


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


def test_a_wrong_value_in_a_file_is_told_with_all_other_faults_and_never_shown(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (secrets / "EXAMPLE_LEVEL").write_text(SECRET)
    told = faults(capsys)
    assert [line.partition(":")[0] for line in told] == ["EXAMPLE_PASSWORD", "EXAMPLE_LEVEL"]
    assert SECRET not in "".join(told)


@pytest.mark.parametrize(
    ("name", "content"), [("EXAMPLE_NAMES", SECRET.encode()), ("EXAMPLE_PASSWORD", SECRET.encode() + b"\xff")]
)
def test_a_file_that_cannot_be_read_is_told_by_its_setting_and_never_shown(
    secrets: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (secrets / name).write_bytes(content)
    [told] = faults(capsys)
    assert name.removeprefix("EXAMPLE_").lower() in told
    assert SECRET not in told
