"""The service put together: observation → proven caller → route → scoped store → database."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from runtime.asgi import App
from runtime.problems import Code, ProblemError, render
from runtime.serve import Service
from todos.caller import REQUEST_ID, ProvenCallers
from todos.database import Database, open_database
from todos.metrics import Metrics
from todos.observation import Observed, internal_error
from todos.replay import ReplayMemory
from todos.routes import router
from todos.settings import ServeSettings
from todos.startcheck import open_when_fit


@asynccontextmanager
async def open_service(settings: ServeSettings) -> AsyncIterator[Service]:
    """The service with its pool, which connects once `background` has found the database fit."""
    metrics = Metrics()
    async with open_database(
        settings.database_url, pool_size=settings.pool_size, statement_seconds=settings.statement_timeout
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
    """What listens on the private port."""
    api = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    api.state.database = database
    api.include_router(router)
    api.add_exception_handler(ProblemError, _answer_problem)
    api.add_exception_handler(HTTPException, _answer_framework)
    api.add_exception_handler(Exception, _answer_unhandled)
    return Observed(ProvenCallers(api, settings.keyring, metrics, ReplayMemory()), metrics)


async def _answer_problem(request: Request, error: Exception) -> Response:
    problem = error if isinstance(error, ProblemError) else internal_error()
    status, headers, body = render(problem, request.scope[REQUEST_ID])
    response = Response(body, status)
    response.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]
    return response


async def _answer_unhandled(request: Request, _error: Exception) -> Response:
    return await _answer_problem(request, internal_error())


async def _answer_framework(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    codes: dict[int, Code] = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(status)
    if code == "method_not_allowed":
        problem = ProblemError(code, "The route does not know this method.", headers=[(b"allow", _allowed(request))])
    elif code:
        problem = ProblemError(code, "There is no such route.")
    else:
        problem = internal_error()
    return await _answer_problem(request, problem)


def _allowed(request: Request) -> bytes:
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    methods = {
        method for route in routes if route.path_regex.match(request.scope["path"]) for method in route.methods or ()
    }
    return ", ".join(sorted(methods)).encode()
