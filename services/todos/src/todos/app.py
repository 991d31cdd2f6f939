"""Puts the service together: access log → authentication → route → one user's store → database."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from runtime.serve import Service
from strict_http.asgi import App
from todos.database.pool import Database, open_database
from todos.http.access_log import AccessLogMiddleware
from todos.http.authentication import AuthenticationMiddleware
from todos.http.dispatcher import Dispatcher
from todos.http.long_work import long_work
from todos.http.routes import api
from todos.metrics import Metrics
from todos.schema.check import open_when_fit
from todos.settings import ServeSettings


@asynccontextmanager
async def open_service(settings: ServeSettings) -> AsyncIterator[Service]:
    """The service with its pool, which connects once `background` has found the database ready."""
    metrics = Metrics()
    third = _third(settings)
    async with open_database(
        settings.database_url,
        pool_size=settings.pool_size,
        statement_seconds=settings.statement_timeout,
        search_seconds=settings.search_timeout,
        places=metrics.user_shares("user-pool", total=settings.pool_size, per_user=settings.pool_share or third),
        searches=metrics.user_shares("user-pool", total=third, per_user=third),
    ) as database:
        metrics.watch(database)

        def background() -> Coroutine[None, None, None]:
            return open_when_fit(database, settings.database_url)

        yield Service(
            app=create_app(settings, database, metrics),
            readiness=lambda: {"database": database.fit},
            registry=metrics.registry,
            background=background,
        )


def create_app(settings: ServeSettings, database: Database, metrics: Metrics) -> App:
    """The ASGI application of the private port."""
    dispatcher = Dispatcher(api, database, long_work(_third(settings), metrics))
    return AccessLogMiddleware(AuthenticationMiddleware(dispatcher, settings.identity_keys, metrics), metrics)


def _third(settings: ServeSettings) -> int:
    """How many connections searches may hold, and as many imports, and one user; the rest is for others."""
    return max(1, settings.pool_size // 3)
