"""The gateway put together from its settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from gateway.app import Gateway
from gateway.forward.body import BodyBuffers
from gateway.forward.forwarder import Forwarder
from gateway.forward.upstream import Upstream
from gateway.keys.fetch import KeyFetcher
from gateway.keys.source import KeySource
from gateway.limits.limiter import Limiter
from gateway.limits.local import LocalLimits
from gateway.limits.shared import SharedLimits
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.token.claims import Rules
from gateway.token.verifier import TokenVerifier
from runtime.serve import Service


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Service]:
    """Everything the gateway holds while it serves; closed at the end."""
    metrics = Metrics()
    async with httpx.AsyncClient() as client:
        keys = KeySource(key_fetcher(client, settings), settings.issuer, metrics)
        shared = _shared_limits(settings, metrics)
        upstream = _upstream(settings, metrics)

        async def background() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(keys.refresh_forever())
                if shared is not None:
                    group.create_task(shared.probe_forever())

        try:
            yield Service(
                app=Gateway(
                    TokenVerifier(keys, _rules(settings), frozenset(settings.algorithms)),
                    _limiter(settings, shared, metrics),
                    BodyBuffers(settings.max_body_bytes, settings.max_buffered_bytes, metrics),
                    _forwarder(settings, upstream, metrics),
                    metrics,
                ),
                readiness=lambda: {"keys": keys.loaded},
                registry=metrics.registry,
                background=background,
            )
        finally:
            upstream.close()
            if shared is not None:
                await shared.close()


def key_fetcher(client: httpx.AsyncClient, settings: Settings) -> KeyFetcher:
    return KeyFetcher(
        client,
        issuer=settings.issuer,
        jwks_url=str(settings.jwks_url) if settings.jwks_url else None,
        allow_http=settings.allow_http_jwks,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        issuer=settings.issuer,
        audiences=frozenset(settings.audience),
        user_claim=settings.user_claim,
        max_lifetime=settings.token_max_lifetime,
    )


def _shared_limits(settings: Settings, metrics: Metrics) -> SharedLimits | None:
    metrics.ratelimit_degraded.set(1)
    if settings.redis_url is None:
        return None
    return SharedLimits(
        settings.redis_url.get_secret_value(), lambda answering: metrics.ratelimit_degraded.set(not answering)
    )


def _limiter(settings: Settings, shared: SharedLimits | None, metrics: Metrics) -> Limiter:
    return Limiter(
        settings.rate_limits, shared, LocalLimits(settings.replicas_hint), settings.on_redis_failure, metrics
    )


def _upstream(settings: Settings, metrics: Metrics) -> Upstream:
    url = settings.upstream_url
    return Upstream(
        (url.host or "").strip("[]"), url.port or 80, settings.upstream_timeout, metrics.upstream_connections.set
    )


def _forwarder(settings: Settings, upstream: Upstream, metrics: Metrics) -> Forwarder:
    return Forwarder(
        upstream,
        settings.identity_keys,
        authority=urlsplit(str(settings.upstream_url)).netloc,
        public_url=str(settings.public_url) if settings.public_url else None,
        max_in_flight=settings.max_in_flight,
        metrics=metrics,
    )
