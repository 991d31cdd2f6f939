"""Identity providers that run on Node.js, and a gateway in front of the pair that trusts one of them."""

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

from tests.pair import Pair
from tests.rolling import Process

FOLDER = Path(__file__).parent / "providers"
NODE, NPM = shutil.which("node"), shutil.which("npm")
INSTALL_SECONDS = 400
ANSWER_SECONDS = 30


def install() -> None:
    """The packages of the lock file, unless they are there; no package runs a script of its own."""
    installed = FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (FOLDER / "package-lock.json").stat().st_mtime:
        subprocess.run([str(NPM), "ci"], cwd=FOLDER, check=True, timeout=INSTALL_SECONDS)


class NodeProvider:
    """A provider of tests/providers on a free port of loopback, and a browser without scripts that talks to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.url = ""
        self.browser = httpx.AsyncClient(trust_env=False)

    async def rotate(self) -> None:
        """From now on it signs with a new key."""
        assert self._process.stdin
        self._process.stdin.write(b"rotate\n")
        assert await self.line() == {"rotated": True}

    async def line(self) -> dict[str, object]:
        """The next line that is ours: its packages print notices of their own."""
        assert self._process.stdout
        async with asyncio.timeout(ANSWER_SECONDS):
            async for line in self._process.stdout:
                if line.startswith(b"{"):
                    printed: dict[str, object] = json.loads(line)
                    return printed
        raise AssertionError(f"the provider ended with {await self._process.wait()}")


@contextlib.asynccontextmanager
async def running_provider(name: str) -> AsyncIterator[NodeProvider]:
    """The provider `name`.mjs, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        str(NODE), f"{name}.mjs", cwd=FOLDER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    provider = NodeProvider(process)
    try:
        provider.url = str((await provider.line())["url"])
        provider.browser.base_url = httpx.URL(provider.url)
        provider.browser.headers["origin"] = provider.url
        yield provider
    finally:
        await provider.browser.aclose()
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def running_gateway(pair: Pair, settings: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one more gateway in front of the pair's todo service, with these settings."""
    gateway = await Process.start("gateway", gateway_settings(pair, settings))
    try:
        await gateway.ready()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
            yield client
    finally:
        await gateway.kill()


def gateway_settings(pair: Pair, settings: Mapping[str, str]) -> dict[str, str]:
    """All that a gateway in front of the pair needs, beside what says whose tokens it takes."""
    return {
        "GATEWAY_UPSTREAM_URL": pair.todos,
        "GATEWAY_IDENTITY_KEYS": pair.description["identity_keys"],
        "GATEWAY_REDIS_URL": pair.description["redis_url"],
        "GATEWAY_ALLOW_HTTP_JWKS": "true",
        **settings,
    }
