"""Tiny chunks cost their sender a rejection, and nobody else their time."""

import asyncio

import pytest
from uvicorn.server import ServerState

from libs.strict_http.tests.raw import assert_rejected, serving
from libs.strict_http.tests.wire import Recorder, Wire, connected, converse, settle
from strict_http.framing import CHUNKS_AT_ONCE, CONTENT_PER_FRAMING_BYTE, FREE_FRAMING_BYTES

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
FRAMING = len(b"1\r\n\r\n")
"""Of a chunk of up to 15 bytes."""


def chunk(size: int, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (size, extension, b"a" * size)


async def test_a_body_in_tiny_chunks_is_read_as_long_as_its_framing_stays_within_16_kib() -> None:
    """Clients that send what they have at once write such chunks (RFC 9112 section 7.1)."""
    count = FREE_FRAMING_BYTES // FRAMING - 1
    async with serving() as served:
        answer = await served.exchange(HEAD + chunk(1) * count + END)
        assert answer.body == b"/? " + b"a" * count


@pytest.mark.parametrize("size", [1, CONTENT_PER_FRAMING_BYTE - 1])
async def test_a_body_of_much_framing_and_little_content_is_rejected_with_the_reason(size: int) -> None:
    async with serving() as served:
        await assert_rejected(served, HEAD + chunk(size) * (FREE_FRAMING_BYTES // FRAMING + 1))
        ((error, _, _),) = served.errors.rejections
        assert error.detail == "The chunks of the body are too small."


async def test_extensions_count_as_framing() -> None:
    """RFC 9112 section 7.1.1: a limit for their total is what a recipient ought to have."""
    long = chunk(8, b";" + b"x" * 200)
    async with serving() as served:
        assert (await served.exchange(HEAD + long * (FREE_FRAMING_BYTES // 210) + END)).status == 200
        served.seen.clear()
        await assert_rejected(served, HEAD + long * (FREE_FRAMING_BYTES // 200))


async def test_chunks_of_a_line_of_text_each_are_read_whatever_their_number() -> None:
    size = CONTENT_PER_FRAMING_BYTE * len(b"18\r\n\r\n")
    count = 4 * FREE_FRAMING_BYTES // FRAMING
    async with serving() as served:
        answer = await served.exchange(HEAD + chunk(size) * count + END)
        assert len(answer.body) == len(b"/? ") + size * count


async def test_content_pays_for_framing() -> None:
    count = FREE_FRAMING_BYTES // FRAMING - 1
    large = chunk(CONTENT_PER_FRAMING_BYTE * FREE_FRAMING_BYTES)
    async with serving() as served:
        assert (await served.exchange(HEAD + large + chunk(1) * 2 * count + END)).status == 200
        served.seen.clear()
        await assert_rejected(served, HEAD + chunk(1) * 2 * count + large + END)


async def test_each_body_has_the_same_allowance() -> None:
    count = FREE_FRAMING_BYTES // FRAMING - 1
    async with serving() as served:
        client = await served.connect()
        for _ in range(2):
            assert (await client.exchange(HEAD + chunk(1) * count + END)).status == 200


async def test_many_chunks_are_read_a_few_at_a_time_and_the_connection_waits_meanwhile() -> None:
    count = 4 * CHUNKS_AT_ONCE
    state, recorder, wire = ServerState(), Recorder(), Wire()
    protocol = connected(recorder, wire, state)
    protocol.data_received(HEAD)
    await asyncio.sleep(0)
    protocol.data_received(chunk(1) * count + END + HEAD.replace(b"POST", b"GET") + END)
    paused = 0
    while not recorder.served:
        paused += not wire.reading
        await asyncio.sleep(0)
    assert paused >= count // CHUNKS_AT_ONCE - 1
    await settle(recorder, wire)
    assert [body for *_, body in recorder.served] == [b"a" * count, b""]
    assert wire.reading
    protocol.connection_lost(None)
    await asyncio.gather(*state.tasks)


async def test_how_tiny_chunks_are_cut_into_packets_never_matters() -> None:
    data = HEAD + chunk(1) * (3 * CHUNKS_AT_ONCE) + END
    size = 6 * CHUNKS_AT_ONCE
    for step in (1, 5, size - 1, size, size + 1):
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        recorder, _ = await converse(pieces, patient=False)
        assert [body for *_, body in recorder.served] == [b"a" * (3 * CHUNKS_AT_ONCE)]


@pytest.mark.parametrize("leave", ["lose", "answer"])
async def test_a_connection_that_ends_between_two_slices_is_left_alone(leave: str) -> None:
    state, wire = ServerState(), Wire()

    async def early(scope: object, receive: object, send: object) -> None:
        raise RuntimeError

    protocol = connected(early if leave == "answer" else Recorder(), wire, state)
    protocol.data_received(HEAD + chunk(1) * (4 * CHUNKS_AT_ONCE))
    if leave == "lose":
        protocol.connection_lost(None)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not protocol._pending
    if leave == "answer":
        assert wire.written.startswith(b"HTTP/1.1 500 ")
        protocol.connection_lost(None)
