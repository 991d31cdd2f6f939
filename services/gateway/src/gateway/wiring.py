"""The gateway put together from its settings."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from gateway.app import Gateway
from gateway.clock import SYSTEM, Clock
from gateway.cors import Cors
from gateway.forward.body import BodyBuffers
from gateway.forward.client_shares import ClientShares
from gateway.forward.forwarder import Forwarder
from gateway.forward.upstream import Upstream
from gateway.issuer_settings import Issuer, IssuerSettings
from gateway.keys.jwks import canonical
from gateway.keys.jwks_cache import JwksCache
from gateway.keys.jwks_fetch import JwksFetcher, jwks_client
from gateway.limits.limiter import Limiter
from gateway.limits.local_limits import LocalLimits
from gateway.limits.redis_check import examine
from gateway.limits.redis_connection import RedisError, WrongServerError
from gateway.limits.redis_limits import RedisLimits
from gateway.limits.redis_url import RedisServer
from gateway.limits.revocation import RevocationMemory
from gateway.metrics import Metrics
from gateway.proxies import TrustedProxies
from gateway.settings import ServeSettings
from gateway.token.bearer import token_type
from gateway.token.claims import Rules
from gateway.token.verifier import TokenVerifier, TrustedIssuer
from runtime.serve import Service, StartRefusedError

log = logging.getLogger("gateway.limits")


@asynccontextmanager
async def open_gateway(settings: ServeSettings, clock: Clock = SYSTEM) -> AsyncIterator[Service]:
    """Everything the gateway holds while it serves; closed at the end."""
    metrics = Metrics()
    metrics.in_flight_limit.set(settings.max_in_flight)
    metrics.buffered_bytes_limit.set(settings.max_buffered_bytes)
    async with jwks_client() as client:
        issuers = trusted_issuers(settings, client, metrics, clock)
        revocations = RevocationMemory(settings.token_max_lifetime, settings.leeway)
        shared = _shared_limits(settings, revocations, metrics)
        upstream = _upstream(settings, metrics)

        async def background() -> None:
            async with asyncio.TaskGroup() as group:
                for issuer in issuers:
                    group.create_task(issuer.keys.refresh_forever())
                if shared is not None and settings.redis_url is not None:
                    group.create_task(_examine_redis(settings.redis_url))
                    group.create_task(shared.keep_connected())

        gateway = Gateway(
            TrustedProxies(settings.trusted_proxies, metrics),
            Cors(settings.cors_origins, settings.cors_headers),
            TokenVerifier(issuers, settings.max_token_bytes, clock),
            settings.required_scopes,
            _limiter(settings, shared, revocations, metrics),
            BodyBuffers(settings.max_body_bytes, _buffer_shares(settings, metrics)),
            _forwarder(settings, upstream, metrics),
            metrics,
            explain_refusals=settings.explain_refusals,
        )
        try:
            yield Service(
                app=gateway,
                readiness=lambda: {"keys": all(issuer.keys.loaded for issuer in issuers)},
                registry=metrics.registry,
                background=background,
                on_rejected=gateway.on_rejected,
            )
        finally:
            upstream.close()
            if shared is not None:
                await shared.close()


def jwks_fetcher(client: httpx.AsyncClient, issuer: Issuer, *, allow_http: bool) -> JwksFetcher:
    jwks_url = str(issuer.jwks_url) if issuer.jwks_url else None
    return JwksFetcher(client, issuer=issuer.issuer, jwks_url=jwks_url, allow_http=allow_http)


def trusted_issuers(
    settings: ServeSettings, client: httpx.AsyncClient, metrics: Metrics, clock: Clock = SYSTEM
) -> list[TrustedIssuer]:
    return [_trusted(issuer, client, settings, metrics, clock) for issuer in settings.trusted_issuers]


def _trusted(
    issuer: Issuer, client: httpx.AsyncClient, settings: ServeSettings, metrics: Metrics, clock: Clock
) -> TrustedIssuer:
    fetcher = jwks_fetcher(client, issuer, allow_http=settings.allow_http_jwks)
    keys = JwksCache(fetcher, issuer.issuer, metrics, clock)
    if issuer.issuer in settings.jwks_file:
        keys.preload(settings.jwks_file[issuer.issuer])
    return TrustedIssuer(
        names=issuer.all_names,
        algorithms=frozenset(map(canonical, issuer.algorithms)),
        token_types=frozenset(token_type(typ) or None for typ in issuer.token_types or settings.token_types),
        keys=keys,
        rules=_rules(issuer, settings),
    )


def _rules(issuer: Issuer, settings: IssuerSettings) -> Rules:
    required = settings.required_claims if issuer.required_claims is None else issuer.required_claims
    return Rules(
        audiences=frozenset(issuer.audience),
        user_claim=issuer.user_claim,
        user_ids=settings.user_ids(issuer),
        required_claims=required,
        max_lifetime=settings.token_max_lifetime,
        leeway=settings.leeway,
    )


def _shared_limits(settings: ServeSettings, revocations: RevocationMemory, metrics: Metrics) -> RedisLimits | None:
    metrics.ratelimit_degraded.set(1)
    if settings.redis_url is None:
        log.warning("no GATEWAY_REDIS_URL: limits hold for each process alone")
        return None
    return RedisLimits(settings.redis_url, lambda available: metrics.ratelimit_degraded.set(not available), revocations)


async def _examine_redis(server: RedisServer) -> None:
    """Once, at the start: a Redis that cannot be reached now is not a reason to stop, and is logged elsewhere."""
    try:
        report = await examine(server)
    except WrongServerError as error:
        raise StartRefusedError(f"Redis at {server.report(error)}") from None
    except RedisError:
        return
    for warning in report.warnings:
        log.warning("Redis at %s", server.report(warning))


def _limiter(
    settings: ServeSettings, shared: RedisLimits | None, revocations: RevocationMemory, metrics: Metrics
) -> Limiter:
    return Limiter(
        settings.rate_limits,
        shared,
        LocalLimits(settings.replicas_hint),
        revocations,
        settings.on_redis_failure,
        metrics,
    )


def _upstream(settings: ServeSettings, metrics: Metrics) -> Upstream:
    url = settings.upstream_url
    host = (url.host or "").strip("[]")
    return Upstream(host, url.port or 80, settings.upstream_timeout, metrics.upstream_connections.set)


def _buffer_shares(settings: ServeSettings, metrics: Metrics) -> ClientShares:
    shares = ClientShares("user-buffer", settings.max_buffered_bytes, settings.max_buffered_bytes_per_user, metrics)
    metrics.buffered_bytes.set_function(lambda: shares.taken)
    return shares


def _forwarder(settings: ServeSettings, upstream: Upstream, metrics: Metrics) -> Forwarder:
    places = ClientShares("user-requests", settings.max_in_flight, settings.max_in_flight_per_user, metrics)
    metrics.in_flight.set_function(lambda: places.taken)
    return Forwarder(
        upstream,
        settings.identity_keys,
        authority=urlsplit(str(settings.upstream_url)).netloc,
        public_url=str(settings.public_url) if settings.public_url else None,
        places=places,
        metrics=metrics,
    )
