"""Redis killed, frozen, slow, read-only, full, emptied: nobody waits beyond the budget, and the setting decides."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from gateway_harness import Provider, Running, StartGateway, until

from devtools.testing.tokens import rsa_key
from devtools.valkey import LocalValkey
from gateway.limits import redis_limits
from gateway.limits.redis_limits import redis_client

type Trouble = Callable[[LocalValkey], Awaitable[None]]


async def command(server: LocalValkey, *words: str) -> None:
    redis = redis_client(server.url)
    await redis.execute_command(*words)  # type: ignore[no-untyped-call]
    await redis.aclose()


async def killed(server: LocalValkey) -> None:
    server.kill()


async def frozen(server: LocalValkey) -> None:
    server.freeze()


async def slow(server: LocalValkey) -> None:
    await command(server, "CLIENT", "PAUSE", "60000", "ALL")


async def read_only(server: LocalValkey) -> None:
    await command(server, "REPLICAOF", "127.0.0.1", "1")


async def full(server: LocalValkey) -> None:
    await command(server, "CONFIG", "SET", "maxmemory", "1")


TROUBLES = [killed, frozen, slow, read_only, full]


@pytest.fixture
def server(own_valkey: Callable[[], LocalValkey]) -> LocalValkey:
    return own_valkey()


async def statuses(gateway: Running, provider: Provider, count: int) -> list[int]:
    headers = {"Authorization": f"Bearer {provider.token()}"}
    return [(await gateway.client.get("/v1/todos", headers=headers)).status_code for _ in range(count)]


async def sharing(gateway: Running) -> None:
    await until(lambda: gateway.metric("gateway_ratelimit_degraded") == 0)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize(("setting", "status"), [("local", 200), ("open", 200), ("closed", 503)])
async def test_no_trouble_of_redis_decides_anything_but_what_the_setting_says(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey, trouble: Trouble, setting: str, status: int
) -> None:
    async with start_gateway(redis_url=server.url, on_redis_failure=setting) as gateway:
        await sharing(gateway)
        assert await statuses(gateway, provider, 1) == [200]
        await trouble(server)
        assert set(await statuses(gateway, provider, 10)) == {status}
        assert gateway.metric("gateway_ratelimit_degraded") == 1
    server.thaw()


async def test_a_request_waits_for_redis_no_longer_than_the_budget(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the budget is the only way out: where it is taken away, the request waits
    async with start_gateway(redis_url=server.url) as gateway:
        await sharing(gateway)
        monkeypatch.setattr(redis_limits, "CALL_SECONDS", 3600.0)
        server.freeze()
        assert await statuses(gateway, provider, 3) == [200, 200, 200]
        monkeypatch.setattr(redis_limits, "BUDGET_SECONDS", 3600.0)
        waiting = asyncio.create_task(statuses(gateway, provider, 1))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        server.thaw()
        assert await waiting == [200]


async def test_an_emptied_or_restarted_redis_is_used_again_at_once(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey
) -> None:
    async with start_gateway(redis_url=server.url, rate_limits="user=2/3600s") as gateway:
        await sharing(gateway)
        assert await statuses(gateway, provider, 2) == [200, 200]
        server.flush()
        assert await statuses(gateway, provider, 3) == [200, 200, 429]
        assert gateway.metric("gateway_ratelimit_degraded") == 0


async def test_a_restart_between_two_requests_costs_at_most_the_sharing_of_one(
    start_gateway: StartGateway, provider: Provider, server: LocalValkey
) -> None:
    async with start_gateway(redis_url=server.url) as gateway:
        await sharing(gateway)
        assert await statuses(gateway, provider, 1) == [200]
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert await statuses(gateway, provider, 3) == [200, 200, 200]
        await sharing(gateway)


async def test_redis_is_reached_over_tls_and_its_certificate_is_checked(
    start_gateway: StartGateway, provider: Provider, valkey: LocalValkey, tmp_path: Path
) -> None:
    certificate = self_signed(tmp_path)
    async with tls_in_front_of(valkey, certificate) as port:
        parts = urlsplit(valkey.url)
        secured = parts._replace(scheme="rediss", netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}")
        trusting = urlunsplit(secured._replace(query=f"ssl_ca_certs={certificate}"))
        async with start_gateway(redis_url=trusting, rate_limits="user=1/3600s") as gateway:
            await sharing(gateway)
            assert await statuses(gateway, provider, 2) == [200, 429]
        async with start_gateway(redis_url=urlunsplit(secured), rate_limits="user=600/60s") as gateway:
            assert await statuses(gateway, provider, 2) == [200, 200]
            assert gateway.metric("gateway_ratelimit_degraded") == 1


def self_signed(folder: Path) -> Path:
    key = rsa_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "redis.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


@contextlib.asynccontextmanager
async def tls_in_front_of(server: LocalValkey, certificate: Path) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", server.port)
            await asyncio.gather(pump(reader, plain_writer), pump(plain_reader, writer))

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    listener = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield listener.sockets[0].getsockname()[1]
