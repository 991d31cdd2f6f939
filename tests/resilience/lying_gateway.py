"""A gateway that breaks a promise on request, to show that this is noticed: `python -m tests.resilience.lying_gateway`.

The file named by `LIES_FILE` names the lie to tell from now on; each lie that was told adds a byte to the file beside
it, with `.told` at its end. Everything else is the gateway as it is.
"""

import contextlib
import dataclasses
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import runtime.serve
from runtime.serve import Listeners, Service
from strict_http.asgi import App, Message, Receive, Scope, Send, respond

COMMAND = [sys.executable, "-m", "tests.resilience.lying_gateway"]
HONEST = "none"
LEAKED_BYTES, LEAKS = 64 * 1024 * 1024, 4


@dataclasses.dataclass
class Answer:
    """A whole answer, to be told as it is or otherwise."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)
    body: bytes = b""

    async def collect(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], [*message["headers"]]
        self.body += message.get("body", b"")

    async def tell(self, send: Send) -> None:
        headers = [(name, value) for name, value in self.headers if name != b"content-length"]
        await respond(send, self.status, headers, self.body)


class Liar:
    """Passes requests on, and lies about those that fit the lie of the hour."""

    def __init__(self, app: App, file: Path) -> None:
        self._app = app
        self._file = file
        self._told = file.with_name(f"{file.name}.told")
        self._tokens: list[bytes] = []
        self._leaked: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lies: dict[str, Callable[[Scope, Receive, Send], Awaitable[bool]]] = {
            "another-user": self._another_user,
            "twice": self._twice,
            "forgotten": self._forgotten,
            "old-number": self._old_number,
            "skipped-changes": self._skipped_changes,
            "plain-error": self._plain_error,
            "unknown-id": self._unknown_id,
            "leak": self._leak,
        }
        chosen = self._file.read_text()
        if chosen not in ("leak", HONEST):
            self._leaked.clear()
        lie = lies.get(chosen)
        if lie is None:
            await self._app(scope, receive, send)
        elif await lie(scope, receive, send):
            with self._told.open("a") as told:
                told.write(".")

    async def _another_user(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """The answer is that of whoever asked before, as from a cache with the wrong key."""
        token = dict(scope["headers"])[b"authorization"]
        others = [other for other in self._tokens if other != token]
        self._tokens = [*others[-1:], token]
        lying = bool(others) and scope["path"] == "/v1/todos" and scope["method"] == "GET"
        if lying:
            headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
            scope["headers"] = [*headers, (b"authorization", others[-1])]
        await self._app(scope, receive, send)
        return lying

    async def _twice(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """A creation is sent upstream a second time, as by a retry that must not be."""
        if scope["method"] != "POST" or scope["path"] != "/v1/todos":
            await self._app(scope, receive, send)
            return False
        scope["headers"] = [field for field in scope["headers"] if field[0] != b"idempotency-key"]
        body = await _body(receive)
        await self._app(dict(scope), _again(body, receive), Answer().collect)
        await self._app(dict(scope), _again(body, receive), send)
        return True

    async def _forgotten(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """A creation is acknowledged, and is not there."""
        answer = await self._asked(scope, receive)
        location = dict(answer.headers).get(b"location")
        if location:
            plain = [field for field in scope["headers"] if not field[0].startswith(b"content-")]
            deletion = {**scope, "method": "DELETE", "raw_path": location, "path": location.decode(), "headers": plain}
            await self._app(deletion, _again(b"", receive), Answer().collect)
        await answer.tell(send)
        return location is not None

    async def _old_number(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """A write is answered with a number from long ago."""
        answer = await self._asked(scope, receive)
        lying = scope["method"] in ("POST", "PUT", "PATCH") and answer.status in (200, 201)
        if lying:
            answer.body = re.sub(rb'"version": ?\d+', b'"version":7', answer.body)
        await answer.tell(send)
        return lying

    async def _skipped_changes(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """A page of changes is left out."""
        answer = await self._asked(scope, receive)
        lying = scope["path"] == "/v1/changes" and answer.status == 200 and bool(json.loads(answer.body)["items"])
        if lying:
            answer.body = json.dumps({**json.loads(answer.body), "items": []}).encode()
        await answer.tell(send)
        return lying

    async def _plain_error(self, _scope: Scope, _receive: Receive, send: Send) -> bool:
        """An error as a framework answers it."""
        await respond(send, 500, [(b"content-type", b"text/plain")], b"Internal Server Error")
        return True

    async def _unknown_id(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """An error has another id than the log."""
        answer = await self._asked(scope, receive)
        lying = answer.status >= 400
        if lying:
            known, other = dict(answer.headers)[b"x-request-id"], str(uuid4()).encode()
            answer.body = answer.body.replace(known, other)
            answer.headers = [(name, value.replace(known, other)) for name, value in answer.headers]
        await answer.tell(send)
        return lying

    async def _leak(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """The first requests leave memory behind, each so much that few of them are enough."""
        if len(self._leaked) < LEAKS:
            self._leaked.append(b"\1" * LEAKED_BYTES)
        await self._app(scope, receive, send)
        return True

    async def _asked(self, scope: Scope, receive: Receive) -> Answer:
        answer = Answer()
        await self._app(scope, receive, answer.collect)
        return answer


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives the body again, and then whatever still comes."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return left.pop() if left else await receive()

    return give


def main() -> int:
    honest, file = runtime.serve.run, Path(os.environ["LIES_FILE"])

    def run(open_service: Callable[[], AbstractAsyncContextManager[Service]], listeners: Listeners) -> int:
        @contextlib.asynccontextmanager
        async def open_liar() -> AsyncIterator[Service]:
            async with open_service() as service:
                yield dataclasses.replace(service, app=Liar(service.app, file))

        return honest(open_liar, listeners)

    runtime.serve.run = run
    from gateway import cli  # noqa: PLC0415 - it takes `run` by name when it is imported

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
