"""What an abusive account does, under default limits, each as its own coroutine that runs until it is cancelled."""

import asyncio
import itertools
import json
import socket
import string
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

IMPORT_BYTES = 5 << 20
BODY_BYTES = 1 << 20
SLOW_BYTES, SLOW_SECONDS = 2048, 1.0
REFUSED_PAUSE_SECONDS = 0.2
"""After a refusal, as a client in a hurry waits."""
LARGE_TEXT = "a" * 10_000


@dataclass
class Account:
    """One of them: where it sends, as whom, and what it was answered, by status; 0 is a connection that broke.

    `sent` counts what was begun: the rest was not answered before the end.
    """

    url: str
    token: str
    many: int
    """How many other accounts do the same, this one included."""
    answers: Counter[int] = field(default_factory=Counter)
    sent: int = 0

    def share(self, of: int) -> int:
        """What a lone account does so many times at once, several do in part, and together more often."""
        return of if self.many == 1 else max(2, of // 4)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """A request as any client sends it."""
        self.sent += 1
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        try:
            async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=60) as http:
                answer = await http.request(method, path, headers=headers, **options)
        except httpx.TransportError:
            self.answers[0] += 1
            return None
        await self.count(answer.status_code)
        return answer

    async def send_raw(self, head: str, pieces: Sequence[bytes]) -> None:
        """A request byte by byte, whose answer is read a little at a time."""
        self.sent += 1
        place = urlsplit(self.url)
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BYTES)
        connection.settimeout(0)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (place.hostname, place.port))
            reader, writer = await asyncio.open_connection(sock=connection, limit=SLOW_BYTES)
            writer.write(f"{head}\r\nHost: {place.netloc}\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode())
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            await self.count(int((await reader.readline()).split()[1]))
            while await reader.read(SLOW_BYTES):  # noqa: ASYNC110 - a slow reader
                await asyncio.sleep(SLOW_SECONDS)
        except (OSError, ValueError, IndexError):
            self.answers[0] += 1
        finally:
            connection.close()

    async def count(self, status: int) -> None:
        self.answers[status] += 1
        if status >= 400:
            await asyncio.sleep(REFUSED_PAUSE_SECONDS)


async def at_once(count: int, work: Callable[[], Awaitable[object]]) -> None:
    """Do `work` again and again, so many at a time."""

    async def again() -> None:
        while True:
            await work()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(again())


def todos(count: int, **fields: object) -> bytes:
    """An import of so many new todos."""
    return json.dumps(
        [{"id": str(uuid.uuid4()), "title": f"Todo {number}", **fields} for number in range(count)]
    ).encode()


def unknown_members(count: int) -> bytes:
    """An object of so many members, nine bytes each."""
    names = itertools.islice(itertools.product(string.ascii_lowercase + string.digits, repeat=4), count)
    return b"{" + ",".join(f'"{"".join(name)}":1' for name in names).encode() + b"}"


async def post_import(account: Account, body: bytes) -> httpx.Response | None:
    return await account.send("POST", "/v1/import", content=body, headers={"Content-Type": "application/json"})


async def fill(account: Account, count: int, batch: int, **fields: object) -> None:
    """Hold so many todos before the abuse begins."""
    for _ in range(count // batch):
        answer = await post_import(account, todos(batch, **fields))
        assert answer is not None
        assert answer.is_success, answer.text
