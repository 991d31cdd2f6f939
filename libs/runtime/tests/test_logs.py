import asyncio
import inspect
import json
import logging
from types import SimpleNamespace
from typing import TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import logs
from runtime.logs import Fields, JsonFormatter, RequestLog
from runtime.reachability import ServerFault

log = logging.getLogger("test.requests")


class Request(TypedDict):
    request_id: str
    method: str
    route: str
    status: int
    duration_ms: float


def request(status: int = 200) -> Request:
    return {"request_id": "r1", "method": "GET", "route": "/v1/todos", "status": status, "duration_ms": 1.5}


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    logs.configure("test", "info")


async def test_a_request_line_has_the_form_of_every_other_line(
    configured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    RequestLog("test", log).write(**request(), upstream_ms=0.5, user="ab", auth_failure="expired")
    logs.flush()
    line = json.loads(capsys.readouterr().out)
    fields = {**request(), "upstream_ms": 0.5, "user": "ab", "auth_failure": "expired"}
    record = log.makeRecord(log.name, logging.INFO, "", 0, "request", (), None, extra={"fields": fields})
    expected = json.loads(JsonFormatter("test").format(record))
    assert list(line) == list(expected)
    assert {**line, "time": ""} == {**expected, "time": ""}
    assert len(line["time"]) == len(expected["time"])


@given(request_id=st.text(), method=st.text(), route=st.text(), user=st.text(), auth_failure=st.text())
def test_no_text_of_a_request_line_can_add_a_field_or_a_line(**texts: str) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "level", logging.INFO)
        patch.setattr(logs, "_OUTPUT", SimpleNamespace(hold=lines.append))
        RequestLog("test", log).write(status=200, duration_ms=1, **texts)  # type: ignore[arg-type] # all are texts
    (line,) = lines
    assert line.index("\n") == len(line) - 1
    document = json.loads(line)
    assert {name: document.pop(name) for name in texts} == texts
    assert set(document) == {"time", "level", "service", "logger", "message", "status", "duration_ms"}


def test_every_field_of_a_request_or_of_a_fault_is_in_the_table_of_names() -> None:
    assert set(inspect.signature(RequestLog.write).parameters) - {"self"} <= set(Fields.__annotations__)
    assert set(ServerFault._fields) <= set(Fields.__annotations__)


async def test_request_lines_are_written_together(
    configured: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    request_log = RequestLog("test", log)
    for status in (200, 201):
        request_log.write(**request(status))
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(logs, "BATCH_SECONDS", 0)
    logs.flush()
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == [200, 201]
    request_log.write(**request(202))
    written = ""
    while not written:
        await asyncio.sleep(0)
        written = capsys.readouterr().out
    assert json.loads(written)["status"] == 202


async def test_another_record_never_overtakes_a_request_line(
    configured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    RequestLog("test", log).write(**request())
    log.warning("after")
    assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == ["request", "after"]


async def test_no_request_line_is_written_above_its_level(
    configured: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "level", logging.WARNING)
    log.manager._clear_cache()  # type: ignore[attr-defined] # the level was set past its setter
    RequestLog("test", log).write(**request())
    logs.flush()
    assert capsys.readouterr().out == ""


async def test_a_broken_output_ends_no_request(configured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_text: str) -> int:
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout.write", broken)
        patch.setattr(logging, "raiseExceptions", False)
        RequestLog("test", log).write(**request())
        log.warning("lost")
