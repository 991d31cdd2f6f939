"""What an application may not say: an answer is framed here and nowhere else."""

import pytest

from libs.strict_http.tests.raw import Served, read_body, serving
from strict_http.asgi import App, Headers, Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def answering(headers: Headers, *bodies: bytes) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for body in bodies[:-1]:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": bodies[-1]})

    return app


async def _raw(served: Served) -> bytes:
    client = await served.connect()
    await client.send(GET)
    return await client.reader.read()


@pytest.mark.parametrize(
    "field",
    [
        (b"x-evil", b"a\r\nset-cookie: b"),
        (b"x-evil", b"a\nb"),
        (b"x-evil", b"a\x00"),
        (b"x-evil\r\nset-cookie", b"b"),
        (b"x evil", b"b"),
        (b"x-evil:", b"b"),
        (b"Content-Length", b"3"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"connection", b"upgrade"),
        (b"content-length", b"+3"),
        (b"content-length", b"3, 3"),
    ],
)
async def test_a_header_that_could_split_or_frame_an_answer_is_an_error(field: tuple[bytes, bytes]) -> None:
    async with serving(answering([field], b"one")) as served:
        client = await served.connect()
        answer = await client.exchange(GET)
        assert (answer.status, answer.code) == (500, "failed")
        assert await client.closed()


async def test_an_answer_with_two_lengths_is_an_error() -> None:
    async with serving(answering([(b"content-length", b"3"), (b"content-length", b"3")], b"one")) as served:
        client = await served.connect()
        assert (await client.exchange(GET)).status == 500
        assert await client.closed()


@pytest.mark.parametrize("bodies", [(b"four",), (b"on", b"es"), (b"on",), (b"",)])
async def test_an_answer_of_another_length_than_it_says_is_visibly_cut(bodies: tuple[bytes, ...]) -> None:
    async with serving(answering([(b"content-length", b"3")], *bodies)) as served:
        head, _, body = (await _raw(served)).partition(b"\r\n\r\n")
        assert not head or b"content-length: 3" in head
        assert len(body) < 3


async def test_an_answer_never_goes_on_after_its_end() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering([(b"content-length", b"3")], b"one")(scope, receive, send)
        await send({"type": "http.response.body", "body": b"two"})

    async with serving(app) as served:
        client = await served.connect()
        assert (await client.exchange(GET)).body == b"one"
        assert (await client.exchange(GET)).body == b"one"


async def test_a_body_before_its_head_is_an_error() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.body", "body": b"one"})

    async with serving(app) as served:
        client = await served.connect()
        assert (await client.exchange(GET)).status == 500


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_neither_length_nor_chunks(status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    async with serving(app) as served:
        client = await served.connect()
        await client.send(GET)
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert b"content-length" not in head
        await client.send(GET)
        assert (await client.answer(to_head=True)).status == status
