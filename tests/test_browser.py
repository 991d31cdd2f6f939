"""Pages in headless Chromium, each on an origin of its own, as clients of the gateway (Fetch standard, CORS)."""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from devtools.testing.servers import Reply, Request, ScriptedServer, reply, scripted_server
from tests.node_provider import running_gateway
from tests.pair import Pair

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PAGE_SECONDS = 60
EXPOSED = {"etag", "link", "location", "ratelimit", "ratelimit-policy", "x-request-id"}
ALWAYS_READABLE = {
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
}
"""Fetch standard, "CORS-safelisted response-header name"."""

PAGE = """<!doctype html>
<script type="module">
const { gateway, token } = SETTINGS;

async function send(method, path, body, headers = {}) {
  const request = { method, headers: { Authorization: `Bearer ${token}`, ...headers } };
  if (body) request.body = JSON.stringify(body);
  try {
    const response = await fetch(gateway + path, request);
    const text = await response.text();
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: text ? JSON.parse(text) : null,
    };
  } catch (error) {
    return { error: error.name };
  }
}

async function visit() {
  const listed = await send("GET", "/v1/todos?limit=1");
  const created = await send("POST", "/v1/todos", { title: "From the page" }, { "Content-Type": "application/json" });
  if (listed.error) return { listed, created };
  const path = `/v1/todos/${listed.body[0].id}`;
  const read = await send("GET", path);
  const merge = { "Content-Type": "application/merge-patch+json", "If-Match": read.headers.etag };
  const patched = await send("PATCH", path, { completed: true }, merge);
  const stale = await send("PATCH", path, { completed: false }, merge);
  return { listed, read, patched, stale, created };
}

await fetch("/seen", { method: "POST", body: JSON.stringify(await visit()) });
</script>
"""

pytestmark = [
    pytest.mark.external,
    pytest.mark.timeout(PAGE_SECONDS * 3),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
]


class Site:
    """A web server with one page, and what that page saw."""

    def __init__(self, server: ScriptedServer) -> None:
        self.origin = server.url
        self.settings: dict[str, str] = {}
        self.seen: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        server.answer = self._answer

    def _answer(self, request: Request) -> Reply:
        if request.method == "POST" and request.target == "/seen":
            self.seen.set_result(json.loads(request.body))
            return reply(status=204)
        if request.target == "/":
            page = PAGE.replace("SETTINGS", json.dumps(self.settings))
            return reply(page.encode(), headers={"content-type": "text/html"})
        return reply(status=404)


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    async with scripted_server(lambda _request: reply(status=404)) as server:
        yield Site(server)


async def visited(page: Site) -> dict[str, Any]:
    """What the page saw, opened in a browser of its own."""
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        browser = await asyncio.create_subprocess_exec(
            str(CHROMIUM), *QUIET, *as_root, f"--user-data-dir={profile}", f"{page.origin}/",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                return await page.seen
        finally:
            browser.kill()
            await browser.wait()


@contextlib.asynccontextmanager
async def gateway_for(pair: Pair, origin: str) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A gateway whose pages are those of this origin, and the token of a user with two todos."""
    settings = {"GATEWAY_ISSUER": pair.idp, "GATEWAY_AUDIENCE": "todos", "GATEWAY_CORS_ORIGINS": origin}
    token = pair.token(f"alice-{uuid4()}")
    async with running_gateway(pair, settings) as gateway:
        for title in ("Buy milk", "Bake bread"):
            answer = await gateway.post(
                "/v1/todos", json={"title": title}, headers={"Authorization": f"Bearer {token}"}
            )
            answer.raise_for_status()
        yield gateway, token


async def test_a_page_of_an_allowed_origin_lists_patches_and_reads_every_exposed_header(pair: Pair) -> None:
    async with site() as page, gateway_for(pair, page.origin) as (gateway, token):
        page.settings = {"gateway": str(gateway.base_url).rstrip("/"), "token": token}
        seen = await visited(page)
    statuses = {step: answer.get("status") for step, answer in seen.items()}
    assert statuses == {"listed": 200, "read": 200, "patched": 200, "stale": 412, "created": 201}
    assert 'rel="next"' in seen["listed"]["headers"]["link"]
    assert seen["patched"]["body"]["completed"] is True
    assert seen["patched"]["headers"]["etag"] == seen["stale"]["headers"]["etag"] != seen["read"]["headers"]["etag"]
    assert seen["created"]["headers"]["location"] == f"/v1/todos/{seen['created']['body']['id']}"
    read = set().union(*(answer["headers"] for answer in seen.values()))
    assert read - ALWAYS_READABLE == EXPOSED


async def test_a_page_of_another_origin_reads_nothing_and_changes_nothing(pair: Pair) -> None:
    async with site() as allowed, site() as other, gateway_for(pair, allowed.origin) as (gateway, token):
        other.settings = {"gateway": str(gateway.base_url).rstrip("/"), "token": token}
        assert await visited(other) == {"listed": {"error": "TypeError"}, "created": {"error": "TypeError"}}
        answer = await gateway.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})
        assert {todo["title"] for todo in answer.json()} == {"Buy milk", "Bake bread"}
