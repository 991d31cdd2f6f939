"""What is counted of a request that no route answered."""

import asyncio

from runtime.serve import http_server, listen
from strict_http.asgi import Receive, Scope, Send
from todos.http.access_log import UNROUTED, AccessLogMiddleware
from todos.metrics import Metrics


async def test_a_request_that_is_rejected_while_its_body_comes_has_the_status_of_its_response() -> None:
    ended = asyncio.Event()

    async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    metrics = Metrics()
    server = http_server(AccessLogMiddleware(reads, metrics), keepalive_seconds=75)
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\noops\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await ended.wait()
        server.should_exit = True
        await serving
    labels = {"route": UNROUTED, "method": "POST", "status": "400"}
    assert metrics.registry.get_sample_value("todos_requests_total", labels) == 1
