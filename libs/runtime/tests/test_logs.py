import asyncio
import json
import logging

import pytest

from runtime import logs
from runtime.logs import JsonFormatter, RequestLog

log = logging.getLogger("test.requests")


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    logs.configure("test", "info")


async def test_a_request_line_has_the_form_of_every_other_line(
    configured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    RequestLog("test", log).write('"status": 200, "route": "/v1/todos"')
    logs.flush()
    line = json.loads(capsys.readouterr().out)
    fields = {"status": 200, "route": "/v1/todos"}
    record = log.makeRecord(log.name, logging.INFO, "", 0, "request", (), None, extra={"fields": fields})
    expected = json.loads(JsonFormatter("test").format(record))
    assert list(line) == list(expected)
    assert {**line, "time": ""} == {**expected, "time": ""}
    assert len(line["time"]) == len(expected["time"])


async def test_request_lines_are_written_together(
    configured: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    request_log = RequestLog("test", log)
    for status in (200, 201):
        request_log.write(f'"status": {status}')
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(logs, "BATCH_SECONDS", 0)
    logs.flush()
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == [200, 201]
    request_log.write('"status": 202')
    written = ""
    while not written:
        await asyncio.sleep(0)
        written = capsys.readouterr().out
    assert json.loads(written)["status"] == 202


async def test_another_record_never_overtakes_a_request_line(
    configured: None, capsys: pytest.CaptureFixture[str]
) -> None:
    RequestLog("test", log).write('"status": 200')
    log.warning("after")
    assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == ["request", "after"]


async def test_no_request_line_is_written_above_its_level(
    configured: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "level", logging.WARNING)
    log.manager._clear_cache()  # type: ignore[attr-defined] # the level was set past its setter
    RequestLog("test", log).write('"status": 200')
    logs.flush()
    assert capsys.readouterr().out == ""


async def test_a_broken_output_ends_no_request(configured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_text: str) -> int:
        raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout.write", broken)
        patch.setattr(logging, "raiseExceptions", False)
        RequestLog("test", log).write('"status": 200')
        log.warning("lost")
