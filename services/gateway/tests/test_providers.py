"""Each page of docs/providers: a gateway started from its settings, word for word, serves that provider's users alone.

The provider's hosts are reached through the proxy of the environment, which answers in their names.
"""

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gateway_harness import IDENTITY_KEYS, Running, proven_user, running_gateway
from provider_shapes import SHAPES, Shape
from pydantic import ValidationError
from redis_tls import self_signed

from devtools.testing.provider_pages import PAGES, settings_of_page
from devtools.testing.servers import ScriptedServer, reply
from gateway.settings import ServeSettings

SECTIONS = ["Settings", "At the provider", "Pitfalls"]


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


@contextlib.asynccontextmanager
async def hosts(documents: Mapping[str, Any], certificate: Path) -> AsyncIterator[str]:
    """The URL of a proxy (RFC 9110 section 9.3.6) that answers in the name of every host, over TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            method, authority, _version = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
            assert method == b"CONNECT"
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await writer.start_tls(context)
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            document = documents.get(f"https://{authority.decode().removesuffix(':443')}{path.decode()}")
            body = json.dumps(document).encode()
            writer.write(reply(body, 200 if document else 404, {"connection": "close"}).data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    names = {urlsplit(url).hostname or "" for shape in SHAPES.values() for url in shape.documents()}
    return self_signed(tmp_path, hosts=sorted(names))


@contextlib.contextmanager
def environment(settings: Mapping[str, str], upstream: ScriptedServer) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setenv("GATEWAY_UPSTREAM_URL", upstream.url)
        patch.setenv("GATEWAY_IDENTITY_KEYS", IDENTITY_KEYS)
        yield


@contextlib.asynccontextmanager
async def serving(
    settings: Mapping[str, str],
    shape: Shape,
    upstream: ScriptedServer,
    certificate: Path,
    *,
    wait_for_keys: bool = True,
) -> AsyncIterator[Running]:
    async with hosts(shape.documents(), certificate) as proxy:
        reached = {**settings, "HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(certificate)}
        with environment(reached, upstream):
            async with running_gateway(wait_for_keys=wait_for_keys) as gateway:
                yield gateway


async def status(gateway: Running, token: str) -> int:
    return (await gateway.client.get("/v1/todos", headers={"Authorization": f"Bearer {token}"})).status_code


async def serves_its_users_alone(gateway: Running, shape: Shape, upstream: ScriptedServer) -> bool:
    for claims in ({}, *shape.variants.values()):
        if await status(gateway, shape.token(claims)) != 200 or proven_user(upstream.requests[-1]) != shape.user:
            return False
    attacks = [shape.token(attack.claims, attack.header) for attack in shape.attacks.values()]
    return 200 not in [await status(gateway, token) for token in attacks]


def test_every_page_has_a_shape_and_every_shape_a_page() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == SHAPES.keys()
    assert set(re.findall(r"\]\(([a-z0-9-]+)\.md\)", page("README"))) == SHAPES.keys()


@pytest.mark.parametrize("name", SHAPES)
def test_a_page_is_short_of_one_form_and_sets_what_exists(name: str) -> None:
    text = page(name)
    assert re.findall("^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert re.search(r"^Source: \[[^]]+\]\(https://", text, re.MULTILINE)
    assert len(text.splitlines()) < 50
    assert {setting.removeprefix("GATEWAY_").lower() for setting in settings_of_page(name)} <= set(
        ServeSettings.model_fields
    )


@pytest.mark.parametrize("name", SHAPES)
async def test_a_token_of_the_provider_is_its_user(name: str, upstream: ScriptedServer, certificate: Path) -> None:
    shape = SHAPES[name]
    async with serving(settings_of_page(name), shape, upstream, certificate) as gateway:
        for claims in ({}, *shape.variants.values()):
            assert await status(gateway, shape.token(claims)) == 200
            assert proven_user(upstream.requests[-1]) == shape.user


@pytest.mark.parametrize(
    ("name", "attack"), [(name, attack) for name, shape in SHAPES.items() for attack in shape.attacks]
)
async def test_a_token_for_somebody_else_is_refused(
    name: str, attack: str, upstream: ScriptedServer, certificate: Path
) -> None:
    shape, taken = SHAPES[name], SHAPES[name].attacks[attack]
    async with serving(settings_of_page(name), shape, upstream, certificate) as gateway:
        assert await status(gateway, shape.token(taken.claims, taken.header)) == taken.status
        assert gateway.metric("gateway_auth_failures_total", reason=taken.reason) == 1
    assert upstream.requests == []


@pytest.mark.parametrize(("name", "line"), [(name, line) for name in SHAPES for line in settings_of_page(name)])
async def test_no_line_of_a_page_is_spare(name: str, line: str, upstream: ScriptedServer, certificate: Path) -> None:
    """Without it the gateway does not start, finds no key, refuses its users or takes others for them."""
    shape = SHAPES[name]
    settings = {setting: value for setting, value in settings_of_page(name).items() if setting != line}
    with contextlib.suppress(ValidationError):
        async with serving(settings, shape, upstream, certificate, wait_for_keys=False) as gateway:
            assert not await serves_its_users_alone(gateway, shape, upstream)
