"""The command lines of both services: one form, one version, and the settings each command reads."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

import gateway.cli
import todos.cli
from runtime.build import build_of
from runtime.cli import Command
from runtime.settings import setting_name

ROOT = Path(__file__).parents[1]
SERVICES: dict[str, Sequence[Command]] = {"gateway": gateway.cli.COMMANDS, "todos": todos.cli.COMMANDS}
COMMANDS = [(service, command) for service, commands in SERVICES.items() for command in commands]


def run(service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name(service)
    return subprocess.run([script, *arguments], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("service", SERVICES)
def test_the_version_is_that_of_the_version_file(service: str) -> None:
    version = (ROOT / "VERSION").read_text().strip()
    assert build_of(service).version == version
    ended = run(service, "--version")
    assert (ended.returncode, ended.stdout) == (0, f"{service} {version}\n")


@pytest.mark.parametrize("service", SERVICES)
def test_help_lists_every_command_and_how_they_exit(service: str) -> None:
    ended = run(service, "--help")
    assert ended.returncode == 0
    words = " ".join(ended.stdout.split())
    for command in SERVICES[service]:
        assert f"{command.name} {command.summary}" in words
    assert f"`{service} settings` lists them" in words
    assert "exits with 0 where all is well, 1 where it cannot do its work now, 2 where" in words


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("check", "--nonsense")])
def test_wrong_arguments_exit_with_2_and_say_how_it_is_used(service: str, arguments: tuple[str, ...]) -> None:
    ended = run(service, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"usage: {service}")


@pytest.mark.parametrize(("service", "command"), COMMANDS, ids=lambda value: getattr(value, "name", value))
def test_every_command_names_the_settings_it_reads(
    service: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    main = {"gateway": gateway.cli.main, "todos": todos.cli.main}[service]
    with pytest.raises(SystemExit) as ended:
        main([command.name, "--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    names = [setting_name(command.settings, field) for field in command.settings.model_fields]
    assert f"Reads {', '.join(names)}." in shown
    assert all(name.startswith(f"{service.upper()}_") for name in names)
    assert command.description in shown


def test_what_both_services_have_is_called_the_same() -> None:
    shared = {command.name for command in SERVICES["gateway"]} & {command.name for command in SERVICES["todos"]}
    assert shared == {"serve", "check"}
    for name in shared:
        one, other = (next(one for one in commands if one.name == name) for commands in SERVICES.values())
        assert one.summary == other.summary


def faulty_fields(kind: type[BaseSettings]) -> set[str]:
    try:
        kind()
    except ValidationError as error:
        return {str(fault["loc"][0]) for fault in error.errors()}
    return set()


@pytest.mark.parametrize(("service", "command"), COMMANDS, ids=lambda value: getattr(value, "name", value))
def test_every_example_of_a_setting_is_one_that_it_takes(
    service: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for field, info in command.settings.model_fields.items():
        name = setting_name(command.settings, field)
        for example in info.examples or []:
            if "…" in example or example.startswith("/"):
                continue
            with monkeypatch.context() as environment:
                environment.setenv(name, example)
                assert field not in faulty_fields(command.settings), example
