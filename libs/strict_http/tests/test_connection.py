"""What a connection does over time: order, early answers, clocks, clients that leave."""

import asyncio
import socket
from typing import cast

import pytest
import uvloop

from devtools.testing.stalls import hold_up
from libs.strict_http.tests.raw import Served, read_body, serving, until
from strict_http import slow_client, timeouts
from strict_http.asgi import App, Receive, Scope, Send, respond
from strict_http.protocol import StrictProtocol
from strict_http.timeouts import Wait

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
LARGE = 4 * 1024 * 1024
MUCH = 4 * LARGE
"""More than the kernel takes over for a connection."""


def connections(served: Served) -> int:
    return len(served.server.server_state.connections)


class Gate:
    """An application that reads a request, then waits until it is let on; counts what goes on in it."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.let_on = asyncio.Semaphore(0)
        self.inside = 0
        self.most_inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        await read_body(receive)
        self.entered.release()
        await self.let_on.acquire()
        await respond(send, 200, [], scope["raw_path"])
        self.inside -= 1


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    gate = Gate()
    async with serving(gate) as served:
        client = await served.connect()
        await client.send(b"".join(GET % number for number in range(20)))
        for number in range(20):
            await gate.entered.acquire()
            gate.let_on.release()
            assert (await client.answer()).body == b"/%d" % number
        assert gate.most_inside == 1
        assert len(served.seen) == 20


async def test_a_client_that_pipelines_without_end_is_no_longer_read() -> None:
    gate = Gate()
    async with serving(gate) as served:
        client = await served.connect()
        await client.send(GET % 0)
        await gate.entered.acquire()
        (connection,) = served.server.server_state.connections
        assert isinstance(connection, StrictProtocol)
        pipelined = b"".join(GET % number for number in range(1, 60_000))
        client.writer.write(pipelined)
        await until(lambda: connection._flow.read_paused)
        assert len(connection._pending) < len(pipelined)
        connection._flow.resume_reading()
        assert connection._flow.read_paused

        for number in range(100):
            gate.let_on.release()
            assert (await client.answer()).body == b"/%d" % number
        assert gate.most_inside == 1
        for _ in range(len(pipelined)):
            gate.let_on.release()


async def test_every_request_of_a_long_pipeline_is_answered_once() -> None:
    async with serving() as served:
        client = await served.connect()
        count = 5000
        client.writer.write(b"".join(GET % number for number in range(count)))
        for number in range(count):
            assert (await client.answer()).body == b"/%d? " % number
        assert len(served.seen) == count


async def test_a_request_cut_into_single_bytes_is_one_request() -> None:
    async with serving() as served:
        client = await served.connect()
        for octet in POST % 1 + b"hello" + GET % 2:
            await client.send(bytes([octet]))
            await asyncio.sleep(0)
        assert (await client.answer()).body == b"/1? hello"
        assert (await client.answer()).body == b"/2? "


async def test_nothing_runs_after_a_request_that_asks_to_close() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: x, cLose\r\n\r\n" + GET % 2)
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"/1? ", "close")
        assert await client.closed()
        assert len(served.seen) == 1


async def test_a_large_body_arrives_whole() -> None:
    async with serving() as served:
        client = await served.connect()
        body = bytes(range(256)) * (LARGE // 256)
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE + body + GET % 2)
        assert (await client.answer()).body == b"/? " + body
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        pieces = [body[start : start + 70_000] for start in range(0, LARGE, 70_000)]
        client.writer.write(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n")
        assert (await client.answer()).body == b"/2? "
        assert (await client.answer()).body == b"/? " + body


async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 413, [], b"too large")


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: %d" % LARGE, b"Transfer-Encoding: chunked", b"Expect: 100-continue\r\nContent-Length: 5"],
)
async def test_an_answer_before_the_end_of_the_body_closes_and_the_rest_is_no_request(framing: bytes) -> None:
    async with serving(too_large) as served:
        client = await served.connect()
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        await client.send(GET % 2)
        assert await client.closed()
        assert len(served.seen) == 1


async def test_an_early_answer_survives_a_client_that_sends_its_whole_body_first() -> None:
    async with serving(too_large) as served:
        client = await served.connect()
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE + b"a" * LARGE)
        answer = await client.answer()
        assert (answer.status, answer.body) == (413, b"too large")
        assert await client.closed()


async def test_an_early_answer_that_streams_is_not_cut_short() -> None:
    finish = asyncio.Event()

    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await finish.wait()
        await send({"type": "http.response.body", "body": b"two"})

    async with serving(early) as served:
        client = await served.connect()
        await client.send(POST % 1)
        await client.reader.readuntil(b"one ")
        await client.send(b"hello" + GET % 2)
        finish.set()
        assert (await client.reader.read()).endswith(b"\r\n3\r\ntwo\r\n0\r\n\r\n")
        assert len(served.seen) == 1


async def test_a_client_that_reads_no_end_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "LINGER_SECONDS", 0.01)
    async with serving(too_large) as served:
        client = await served.connect()
        await client.send(POST % 1)
        assert (await client.answer()).status == 413
        await until(lambda: connections(served) == 0)


async def test_an_answer_to_http_1_0_that_breaks_off_never_looks_whole() -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})

    async with serving(breaks_off) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


async def test_a_fault_in_a_body_whose_answer_has_begun_only_closes() -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await read_body(receive)

    async with serving(early) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.reader.readuntil(b"one\r\n")
        await client.send(b"oops\r\n" + GET % 2)
        assert await client.closed()
        assert len(served.seen) == 1


async def test_a_fault_in_a_body_ends_its_request_and_is_the_only_answer() -> None:
    gone = asyncio.Event()

    async def reads_then_answers(scope: Scope, receive: Receive, send: Send) -> None:
        assert await read_body(receive) is None
        await respond(send, 200, [], b"never seen")
        assert await receive() == {"type": "http.disconnect"}
        gone.set()

    async with serving(reads_then_answers) as served:
        client = await served.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\noops\r\n"
            + GET % 2
        )
        answer = await client.answer()
        assert answer.code == "bad_request"
        assert await client.closed()
        await gone.wait()
        assert len(served.seen) == 1


@pytest.mark.parametrize(
    "head", [b"G", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r"]
)
async def test_headers_that_do_not_come_in_time_are_answered_408(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "HEAD_SECONDS", 0.01)
    async with serving() as served:
        client = await served.connect()
        assert (await client.exchange(GET % 1)).status == 200
        answer = await client.exchange(head)
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.headers["connection"] == "close"
        assert await client.closed()
        assert len(served.seen) == 1


async def test_each_byte_of_a_slow_head_does_not_start_its_time_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "HEAD_SECONDS", 0.05)
    async with serving() as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            await client.send(b"a")
            await asyncio.sleep(0.001)
        assert (await answer).status == 408


@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nhell", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell"])
async def test_a_body_that_does_not_come_in_time_is_answered_408(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "CHECK_SECONDS", 0.01)
    async with serving() as served:
        client = await served.connect()
        answer = await client.exchange(b"POST / HTTP/1.1\r\nHost: a\r\n" + body)
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert await client.closed()
        assert [seen.body for seen in served.seen] == [None]


def test_a_body_has_three_checks_and_each_needs_progress() -> None:
    enough, least = slow_client.MIN_BYTES, slow_client.MIN_BYTES - 1
    pace = slow_client.UploadPace()
    assert [pace.goes_on(received, held_back=False) for received in (enough, 2 * enough, 9 * enough)] == [
        True,
        True,
        False,
    ]
    pace = slow_client.UploadPace()
    assert pace.goes_on(enough, held_back=False)
    assert not pace.goes_on(enough + least, held_back=False)
    assert slow_client.UploadPace().goes_on(0, held_back=True)


async def test_a_body_that_makes_progress_has_more_than_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(slow_client, "MIN_BYTES", 1)
    judged: list[bool] = []
    goes_on = slow_client.UploadPace.goes_on

    def watched(self: slow_client.UploadPace, received: int, *, held_back: bool) -> bool:
        judged.append(goes_on(self, received, held_back=held_back))
        return judged[-1]

    monkeypatch.setattr(slow_client.UploadPace, "goes_on", watched)
    async with serving() as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello")
        assert (await client.answer()).status == 408
        assert judged == [True, False]


async def test_a_client_that_is_held_back_is_not_blamed_for_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(slow_client, "BODY_CHECKS", 1_000_000)
    checked = asyncio.Semaphore(0)
    goes_on = slow_client.UploadPace.goes_on

    def watched(self: slow_client.UploadPace, received: int, *, held_back: bool) -> bool:
        checked.release()
        return goes_on(self, received, held_back=held_back)

    monkeypatch.setattr(slow_client.UploadPace, "goes_on", watched)

    async def reads_late(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(3):
            await checked.acquire()
        assert len(await read_body(receive) or b"") == LARGE
        await respond(send, 200, [], b"all of it")

    async with serving(reads_late) as served:
        client = await served.connect()
        client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % LARGE + b"x" * LARGE)
        assert (await client.answer()).body == b"all of it"


async def silent(served: Served, request: bytes) -> socket.socket:
    """A client that sends, and reads only what the test reads."""
    client = socket.create_connection(("127.0.0.1", served.port))
    client.sendall(request)
    client.setblocking(False)  # noqa: FBT003 - the socket's own signature
    return client


async def streams_much(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(MUCH // 65536):
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 200, [], b"x" * MUCH)


@pytest.mark.parametrize("app", [streams_much, large])
@pytest.mark.parametrize("head", [b"Host: a", b"Host: a\r\nConnection: close", b"Host: a\r\nContent-Length: 9"])
async def test_a_client_that_reads_nothing_is_cut_off(app: App, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_client, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(timeouts, "LINGER_SECONDS", 0.05)
    async with serving(app) as served:
        with await silent(served, b"GET / HTTP/1.1\r\n" + head + b"\r\n\r\n"):
            await until(lambda: len(served.seen) == 1)
            await until(lambda: connections(served) == 0 and not served.server.server_state.tasks)


class Unread:
    """A transport with so many bytes that its client has not taken."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.aborted = True


async def test_a_client_that_reads_slowly_gets_it_all_and_one_that_stops_does_not() -> None:
    transport = Unread(1 << 20)
    watch = slow_client.SlowClientGuard(asyncio.get_running_loop(), cast(asyncio.Transport, transport))
    watch.start()
    for _ in range(20):
        watch._check()
        transport.size -= slow_client.MIN_BYTES
        assert not transport.aborted
    watch._check()
    transport.size -= slow_client.MIN_BYTES - 1
    watch._check()
    assert transport.aborted
    watch.stop()


def test_a_client_that_took_its_bytes_while_the_loop_was_held_up_is_not_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_client, "CHECK_SECONDS", 0.02)

    async def take_behind_a_stall() -> None:
        loop = asyncio.get_running_loop()
        transport = Unread(1 << 20)
        watch = slow_client.SlowClientGuard(loop, cast(asyncio.Transport, transport))
        watch.start()
        await until(lambda: watch._unread > 0)
        reading, writing = socket.socketpair()
        with reading, writing:
            loop.add_reader(reading, setattr, transport, "size", 0)
            await hold_up(0.06, lambda: writing.send(b"taken"))
            await until(lambda: transport.size == 0)
            loop.remove_reader(reading)
        await until(lambda: not watch._checking)
        assert not transport.aborted

    uvloop.run(take_behind_a_stall())


@pytest.mark.parametrize(
    ("begun", "rest", "wait"),
    [(b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n", Wait.HEAD), (POST % 1, b"hello", Wait.BODY)],
)
def test_what_the_client_sent_while_the_loop_was_held_up_came_in_time(
    begun: bytes, rest: bytes, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "HEAD_SECONDS" if wait is Wait.HEAD else "CHECK_SECONDS", 0.05)

    async def send_behind_a_stall() -> None:
        async with serving() as served:
            with await silent(served, begun) as client:
                await until(lambda: any(_waits_for(one, wait) for one in served.server.server_state.connections))
                await hold_up(0.15, lambda: client.send(rest))
                answer = await asyncio.get_running_loop().sock_recv(client, 65536)
                assert answer.startswith(b"HTTP/1.1 200 ")

    uvloop.run(send_behind_a_stall())


def _waits_for(connection: object, wait: Wait) -> bool:
    assert isinstance(connection, StrictProtocol)
    return connection._timeouts._awaited is wait


async def test_a_slow_application_is_not_the_client_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "HEAD_SECONDS", 0.01)
    monkeypatch.setattr(timeouts, "CHECK_SECONDS", 0.01)
    gate = Gate()
    async with serving(gate, keepalive_seconds=0) as served:
        client = await served.connect()
        await client.send(POST % 1 + b"hello" + b"GET /2 HTTP/1.1\r\n")
        await gate.entered.acquire()
        await asyncio.sleep(0.05)
        gate.let_on.release()
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 408


async def test_a_connection_that_never_says_anything_has_the_time_of_a_head_and_is_closed_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Browsers connect ahead: a 408 would be taken for the response to the request that comes then."""
    monkeypatch.setattr(timeouts, "HEAD_SECONDS", 0.01)
    async with serving(keepalive_seconds=3600) as served:
        client = await served.connect()
        assert await client.closed()
        assert served.errors.rejections == []


async def test_an_empty_line_is_no_way_to_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "HEAD_SECONDS", 0.01)
    async with serving(keepalive_seconds=3600) as served:
        client = await served.connect()
        assert (await client.exchange(b"\r\n")).status == 408
        assert await client.closed()


async def test_an_idle_connection_is_closed_in_silence_after_its_answer() -> None:
    async with serving(keepalive_seconds=0) as served:
        client = await served.connect()
        await client.send(GET % 1)
        assert (await client.answer()).status == 200
        assert await client.closed()


async def test_each_answer_starts_the_time_of_an_idle_connection_again() -> None:
    async def at_once(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, [])

    async with serving(at_once) as served:
        client = await served.connect()
        await client.exchange(GET % 1)
        (connection,) = served.server.server_state.connections
        assert isinstance(connection, StrictProtocol)
        connection._timeouts._idle_seconds = 3600
        await client.exchange(GET % 2)
        assert connection._timeouts._deadline._due > asyncio.get_running_loop().time() + 1800


async def test_a_client_that_asks_for_100_gets_it_when_its_body_is_wanted() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
        assert (await client.answer()).status == 100
        await client.send(b"hello" + GET % 2)
        assert (await client.answer()).body == b"/1? hello"
        assert (await client.answer()).body == b"/2? "


async def test_a_client_that_did_not_wait_for_100_gets_none() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert (await client.answer()).body == b"/1? hello"
        old = await served.connect()
        await old.send(b"POST /1 HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        await old.send(b"hello")
        assert (await old.answer()).status == 200


async def test_an_answer_to_head_has_no_body() -> None:
    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, [], b"body")

    async with serving(answers) as served:
        client = await served.connect()
        await client.send(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n" + GET % 2)
        assert (await client.answer(to_head=True)).headers["content-length"] == "4"
        assert (await client.answer()).body == b"body"


async def streams(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in (b"one ", b"", b"two"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def test_an_answer_of_unknown_length_is_chunked_and_to_http_1_0_ends_with_the_connection() -> None:
    async with serving(streams) as served:
        answer = await served.exchange(GET % 1)
        assert (answer.headers["transfer-encoding"], answer.body) == ("chunked", b"one two")
        old = await served.exchange(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert "transfer-encoding" not in old.headers
        assert (old.headers["connection"], old.body) == ("close", b"one two")


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("of secret")


async def answers_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive)


@pytest.mark.parametrize(("app", "error"), [(fails, "RuntimeError('of secret')"), (answers_nothing, "None")])
async def test_an_application_that_fails_before_its_answer_is_answered_for_and_reported_once(
    app: App, error: str
) -> None:
    async with serving(app) as served:
        client = await served.connect()
        answer = await client.exchange(POST % 1 + b"hello" + GET % 2)
        assert (answer.status, answer.code) == (500, "failed")
        assert answer.headers["connection"] == "close"
        assert await client.closed()
        assert len(served.seen) == 1
        assert [repr(failure) for failure in served.errors.failures] == [error]


async def test_an_application_that_fails_within_its_answer_leaves_it_visibly_cut_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        raise RuntimeError

    async with serving(breaks) as served:
        client = await served.connect()
        await client.send(GET % 1 + GET % 2)
        assert (await client.reader.read()).endswith(b"\r\n3\r\none\r\n")
        assert len(served.seen) == 1
    records = [record for record in caplog.records if record.name == "strict_http"]
    assert [(record.message, record.exc_info is not None) for record in records] == [("unhandled exception", True)]


@pytest.mark.parametrize("leave", ["close", "write_eof", "abort"])
@pytest.mark.parametrize("begun", [False, True])
async def test_an_application_hears_that_its_client_has_gone(leave: str, begun: bool) -> None:  # noqa: FBT001
    waiting, gone = asyncio.Event(), asyncio.Event()

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        assert await read_body(receive) == b""
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        waiting.set()
        assert await receive() == {"type": "http.disconnect"}
        gone.set()

    async with serving(waits) as served:
        client = await served.connect()
        await client.send(GET % 1)
        await waiting.wait()
        getattr(client.writer.transport, leave)()
        await gone.wait()
        await until(lambda: connections(served) == 0)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", POST % 1 + b"hell"])
async def test_a_client_that_leaves_within_a_request_leaves_nothing_behind(sent: bytes) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(sent)
        client.writer.write_eof()
        assert await client.closed()
        await until(lambda: connections(served) == 0 and not served.server.server_state.tasks)
        assert all(seen.body is None for seen in served.seen)


async def test_at_shutdown_an_answer_under_way_is_finished_and_the_connection_closed() -> None:
    gate = Gate()
    async with serving(gate) as served:
        client = await served.connect()
        await client.send(GET % 1)
        await gate.entered.acquire()
        served.server.should_exit = True
        await until(lambda: not served.server.servers[0].is_serving())
        gate.let_on.release()
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"/1", "close")
        assert await client.closed()


async def test_at_shutdown_a_request_on_its_way_is_served_and_its_connection_closed() -> None:
    async with serving() as served:
        fresh, used, half = await served.connect(), await served.connect(), await served.connect()
        assert (await used.exchange(GET % 1)).status == 200
        await half.send(b"GET /2 HTTP/1.1\r\n")
        await until(lambda: connections(served) == 3)
        served.server.should_exit = True
        await until(lambda: not served.server.servers[0].is_serving())
        for client, rest in ((fresh, GET % 2), (used, GET % 2), (half, b"Host: a\r\n\r\n")):
            answer = await client.exchange(rest)
            assert (answer.body, answer.headers["connection"]) == (b"/2? ", "close")
            assert await client.closed()


async def test_at_shutdown_idle_connections_are_closed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "LAST_REQUEST_SECONDS", 0.01)
    async with serving() as served:
        client = await served.connect()
        assert (await client.exchange(GET % 1)).status == 200
        served.server.should_exit = True
        assert await client.closed()


@pytest.mark.parametrize("body", [b"", b"a" * MUCH])
async def test_at_shutdown_an_early_answer_is_still_finished(body: bytes) -> None:
    entered, let_on = asyncio.Event(), asyncio.Event()

    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        entered.set()
        await let_on.wait()
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(early) as served:
        client = await served.connect()
        client.writer.write(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH + body)
        await entered.wait()
        served.server.should_exit = True
        await until(lambda: not served.server.servers[0].is_serving())
        let_on.set()
        await client.writer.drain()
        assert (await client.answer()).body == b"ok"
        assert await client.closed()
