"""What fuzzing has found stays mended, its targets see faults, and coverage leads it to them."""

import base64
import json
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import proxies
from gateway.keys import jwks
from gateway.token import bearer
from runtime import strict_json
from strict_http import framing, request_head
from tests.fuzz import __main__ as command
from tests.fuzz import gateway_targets, inputs
from tests.fuzz.inputs import kept
from tests.fuzz.targets import TARGETS
from todos.domain import preconditions, recurrence_rule
from todos.http import body, cursor, import_body, query
from todos.portability import ical_text


@pytest.mark.parametrize("target", TARGETS)
def test_no_kept_input_breaks_a_promise(target: str) -> None:
    assert kept(target)
    for data in kept(target):
        TARGETS[target](data)


def _raise(*_: object) -> object:
    raise TypeError


FAULTS: dict[str, tuple[object, str, Any]] = {
    "head": (request_head, "_closes", lambda _: False),
    "chunks": (framing, "_CHUNK_SIZE", re.compile(rb"([0-9]{1,16})[;\r]")),
    "path": (gateway_targets, "check_path", lambda _: None),
    "token": (bearer, "_decode", lambda segment: base64.urlsafe_b64decode(segment + b"==")),
    "key-set": (jwks, "_fitting_algorithms", lambda _: frozenset({"HS256"})),
    "forwarded": (proxies, "split_hops", lambda values: ",".join(values).split(",")[::-1]),
    "query": (query, "quote", lambda text, **_: text),
    "position": (cursor, "_read_key", _raise),
    "entity-tags": (preconditions.Condition, "versions", [0]),
    "json": (strict_json, "_decoder", json.JSONDecoder()),
    "merge-patch": (body, "_faults", lambda _: []),
    "import": (import_body, "_within", lambda *_: []),
    "rule": (recurrence_rule.Rule, "__str__", lambda _: "FREQ=DAILY"),
    "calendar": (ical_text, "escape", lambda text: text),
}


def _breaks(target: Callable[[bytes], None], data: bytes) -> bool:
    try:
        target(data)
    except Exception:  # noqa: BLE001 - whatever breaks it is found
        return True
    return False


@pytest.mark.parametrize("target", TARGETS)
def test_a_planted_fault_of_a_reader_is_seen_by_a_kept_input(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, planted = FAULTS[target]
    monkeypatch.setattr(where, name, planted)
    assert any(_breaks(TARGETS[target], data) for data in kept(target))


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="atheris has wheels for Linux on x86_64"
)
def test_coverage_leads_to_a_planted_fault_and_the_input_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "WORK", tmp_path / "work")
    (tmp_path / "word.txt").write_text("b'a'\n")
    assert command.fuzz("tests.fuzz.planted", "word", seconds=60)
    first, found = kept("word")
    assert first == b"a"
    assert found.startswith(b"PAIR")


def test_an_input_is_kept_once_as_a_line_that_python_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "FOLDER", tmp_path)
    (tmp_path / "a.txt").write_text("")
    inputs.keep("a", [b"\n\x00\xff'", b"b"])
    inputs.keep("a", [b"b", b"c"])
    assert kept("a") == [b"\n\x00\xff'", b"b", b"c"]
    assert (tmp_path / "a.txt").read_text().count("\n") == 3
