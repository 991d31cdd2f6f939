"""The one table of metrics; labels are bounded: routes by template, never a path."""

import functools

from prometheus_client import Counter, Gauge

from runtime.metrics import Counts, Durations, service_registry
from runtime.user_shares import UserShares
from todos.database.pool import Database

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_REFUSALS = ("missing", "malformed", "unknown_key", "signature", "expired", "not_yet_valid", "digest", "replay")
_SHARES = ("user-buffer", "user-pool", "user-import", "user-export")


class Metrics:
    """What one process counts."""

    def __init__(self) -> None:
        self.registry = service_registry("todos")
        self.requests = Counts(
            "todos_requests_total", "Requests answered", ["route", "method", "status"], self.registry
        )
        self.duration = Durations(
            "todos_request_duration_seconds",
            "From the head of the request to the end of the answer",
            ["route", "method"],
            self.registry,
        )
        self._identity_refused = Counter(
            "todos_identity_refused", "Requests that did not prove their user", ["reason"], registry=self.registry
        )
        self.body_bytes = Gauge(
            "todos_body_bytes", "Request bodies held, by their announced lengths", registry=self.registry
        )
        self._share_refusals = Counter(
            "todos_share_refusals",
            "Requests refused because their user held its share of what all users share",
            ["policy"],
            registry=self.registry,
        )
        # a rate sees nothing of a first event that brings its own series
        for reason in _REFUSALS:
            self._identity_refused.labels(reason)
        for policy in _SHARES:
            self._share_refusals.labels(policy)

    def count_identity_refused(self, reason: str) -> None:
        """Count one request that did not prove its user."""
        self._identity_refused.labels(reason).inc()

    def user_shares(self, policy: str, *, total: int, per_user: int) -> UserShares:
        """Shares whose refusals are counted: of requests whose user had too much else under way."""
        counter = self._share_refusals.labels(policy)
        return UserShares(policy, total=total, per_user=per_user, count_refused=counter.inc)

    def watch(self, database: Database) -> None:
        """Show the state of the pool."""
        for name, help_text, key in (
            ("todos_pool_connections", "Database connections, opening ones included", "pool_size"),
            ("todos_pool_connections_limit", "Database connections at most", "pool_max"),
            ("todos_pool_idle_connections", "Database connections that wait for a request", "pool_available"),
        ):
            gauge = Gauge(name, help_text, registry=self.registry)
            gauge.set_function(functools.partial(_pool_figure, database, key))
        waiting = Gauge(
            "todos_pool_waiting_requests",
            "Requests that wait for a connection to be opened, and users that wait for one in use",
            registry=self.registry,
        )
        waiting.set_function(lambda: _pool_figure(database, "requests_waiting") + database.places.users_waiting)
        fit = Gauge("todos_database_fit", "1 once role and schema were checked", registry=self.registry)
        fit.set_function(lambda: database.fit)


def label_of(method: str) -> str:
    """The method, or `other` for one that no route could know."""
    return method if method in _METHODS else "other"


def _pool_figure(database: Database, key: str) -> float:
    return database.pool.get_stats().get(key, 0)
