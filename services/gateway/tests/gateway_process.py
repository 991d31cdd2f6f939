"""The gateway as a process of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

GATEWAY = str(Path(sys.executable).with_name("gateway"))


@dataclass
class Process:
    """`gateway serve`, and the log lines it wrote so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, object]] = field(default_factory=list)
    port: int = 0
    admin_port: int = 0

    async def line(self, message: str) -> dict[str, object]:
        """The next log line with this message."""
        assert self.process.stdout
        async with asyncio.timeout(20):
            async for text in self.process.stdout:
                self.lines.append(json.loads(text))
                if self.lines[-1]["message"] == message:
                    return self.lines[-1]
        raise AssertionError(f"{message!r} is not in {self.lines}")

    def freeze(self) -> None:
        """Stop the process: its connections stay open, and nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on where it was."""
        os.kill(self.process.pid, signal.SIGCONT)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"


type Serve = Callable[..., AbstractAsyncContextManager[Process]]


@asynccontextmanager
async def gateway_process(settings: Mapping[str, str]) -> AsyncIterator[Process]:
    """`gateway serve` with these settings, once it listens and holds keys."""
    process = Process(
        await asyncio.create_subprocess_exec(
            GATEWAY, "serve", env=os.environ | settings, stdout=asyncio.subprocess.PIPE
        )
    )
    try:
        listening = await process.line("listening")
        process.port, process.admin_port = int(str(listening["port"])), int(str(listening["admin_port"]))
        await process.line("JWKS updated")
        yield process
    finally:
        if process.process.returncode is None:
            process.process.kill()
        await process.process.communicate()
