"""Calls the handler of a request, without FastAPI's middlewares and dependency solver, which have no use here."""

import re
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Response

from runtime.problems import ProblemError, render
from strict_http.asgi import Receive, Scope, Send, respond
from todos.database.pool import Database
from todos.http.authentication import REQUEST_ID, ROUTE
from todos.http.client_presence import ClientLeftError
from todos.http.declared import declared_routes
from todos.http.long_work import LongWork
from todos.http.request import TodoRequest

type Handler = Callable[[TodoRequest], Awaitable[Response]]
type Methods = dict[str, Handler]


class Dispatcher:
    """Runs the routes declared on a FastAPI: calls the handler of a request, and sends its response or problem.

    Any other exception than a `ProblemError` goes on to the caller.

    Raises:
        IgnoredFeatureError: where `api` declares more than paths, methods and handlers.
    """

    def __init__(self, api: FastAPI, database: Database, long_work: LongWork) -> None:
        self._database = database
        self._long_work = long_work
        self._fixed: dict[str, Methods] = {}
        self._templates: dict[str, tuple[re.Pattern[str], Methods]] = {}
        for route in declared_routes(api):
            if route.param_convertors:
                _, methods = self._templates.setdefault(route.path, (route.path_regex, {}))
            else:
                methods = self._fixed.setdefault(route.path, {})
            methods.update(dict.fromkeys(route.methods or (), route.endpoint))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._find(scope)(TodoRequest(scope, receive, self._database, self._long_work))
        except ClientLeftError:
            return
        except ProblemError as problem:
            await respond(send, *render(problem, scope[REQUEST_ID]))
            return
        await answer(scope, receive, send)

    def _find(self, scope: Scope) -> Handler:
        path = scope["path"]
        methods = self._fixed.get(path)
        if methods is not None:
            scope[ROUTE] = path
            return _of_method(methods, scope["method"])
        for template, (pattern, methods) in self._templates.items():
            if found := pattern.fullmatch(path):
                scope[ROUTE], scope["path_params"] = template, found.groupdict()
                return _of_method(methods, scope["method"])
        raise ProblemError("not_found", "There is no such route.")


def _of_method(methods: Methods, method: str) -> Handler:
    try:
        return methods[method]
    except KeyError:
        allowed = ", ".join(sorted(methods)).encode()
        raise ProblemError(
            "method_not_allowed", "The route does not know this method.", headers=[(b"allow", allowed)]
        ) from None
