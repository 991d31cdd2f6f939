"""Every metric of the gateway; label values come from bounded sets."""

from typing import get_args

from prometheus_client import Counter, Gauge

from gateway.auth_errors import Reason as AuthFailure
from gateway.upstream_errors import Reason as UpstreamFailure
from runtime.metrics import Counts, Durations, service_registry


class Metrics:
    """One registry and the metrics in it."""

    def __init__(self) -> None:
        self.registry = registry = service_registry("gateway")
        self.requests = Counts("gateway_requests_total", "Requests answered.", ["route", "method", "status"], registry)
        self.duration = Durations(
            "gateway_request_duration_seconds",
            "From the request's headers to the end of the answer.",
            ["route"],
            registry,
        )
        self.overhead = Durations(
            "gateway_overhead_seconds",
            "The same without the wait for a place upstream and the exchange there, to the last byte passed on.",
            [],
            registry,
        )
        self.auth_failures = Counter(
            "gateway_auth_failures_total", "Requests that were not authenticated.", ["reason"], registry=registry
        )
        self.forwarding_unreadable = Counter(
            "gateway_forwarding_unreadable_total",
            "Requests of trusted proxies whose forwarding header has no readable client address.",
            registry=registry,
        )
        self.jwks_fetches = Counter(
            "gateway_jwks_fetch_total", "Calls to the provider for keys.", ["issuer", "outcome"], registry=registry
        )
        self.jwks_age = Gauge(
            "gateway_jwks_age_seconds", "Since the provider last confirmed the keys.", ["issuer"], registry=registry
        )
        self.jwks_stale = Gauge(
            "gateway_jwks_stale", "1 while the keys are older than their freshness.", ["issuer"], registry=registry
        )
        self.ratelimit_decisions = Counts(
            "gateway_ratelimit_decisions_total", "Decisions by policy.", ["policy", "decision", "source"], registry
        )
        self.ratelimit_degraded = Gauge(
            "gateway_ratelimit_degraded", "1 while limits are not shared between replicas.", registry=registry
        )
        self.revocations_unchecked = Counter(
            "gateway_revocations_unchecked_total",
            "Requests whose token was checked against this process's memory alone, because Redis was unavailable.",
            registry=registry,
        )
        self.upstream_duration = Durations(
            "gateway_upstream_duration_seconds",
            "From sending a request upstream to the first byte of its response's body.",
            [],
            registry,
        )
        self.upstream_failures = Counter(
            "gateway_upstream_failures_total", "Exchanges that broke.", ["reason"], registry=registry
        )
        self.upstream_retries = Counter(
            "gateway_upstream_retries_total", "Requests that were sent once more.", registry=registry
        )
        self.upstream_connections = Gauge(
            "gateway_upstream_connections", "Open connections to the upstream.", registry=registry
        )
        self.in_flight = Gauge("gateway_in_flight_requests", "Requests at the upstream now.", registry=registry)
        self.in_flight_limit = Gauge(
            "gateway_in_flight_limit", "Requests at the upstream at most; beyond that 503.", registry=registry
        )
        self.buffered_bytes = Gauge("gateway_buffered_bytes", "Request bodies held now.", registry=registry)
        self.buffered_bytes_limit = Gauge(
            "gateway_buffered_bytes_limit", "Request bodies held at most; beyond that 503.", registry=registry
        )
        self.users_at_share = Gauge(
            "gateway_users_at_share",
            "Users that hold their share of what all users share, or wait because they would hold more.",
            ["policy"],
            registry=registry,
        )
        self.users_waiting = Gauge(
            "gateway_users_waiting",
            "Users with requests that wait for what all users share.",
            ["policy"],
            registry=registry,
        )
        self.share_refusals = Counter(
            "gateway_share_refusals_total",
            "Requests refused because their user held its share of what all users share.",
            ["policy"],
            registry=registry,
        )
        self.idle_clients_ended = Counter(
            "gateway_idle_clients_ended_total",
            "Exchanges ended because their client stalled while others lacked what its user held.",
            ["policy"],
            registry=registry,
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # pre-create label values: rate() misses the first increment of a new series
        for failure in get_args(AuthFailure):
            self.auth_failures.labels(failure)
        for reason in (*get_args(UpstreamFailure.__value__), "identity_refused"):
            self.upstream_failures.labels(reason)
