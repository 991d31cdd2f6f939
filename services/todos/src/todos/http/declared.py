"""FastAPI declares the routes; whatever else FastAPI would act on has no effect here and is refused at start."""

import inspect
from collections.abc import Iterator
from itertools import combinations
from types import FunctionType, MethodType
from typing import Any

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from starlette.convertors import StringConvertor

from todos.http.request import TodoRequest


class IgnoredFeatureError(Exception):
    """The application uses a feature of FastAPI that would have no effect; the message names it."""


BARE: dict[str, Any] = {
    "openapi_url": None,
    "docs_url": None,
    "redoc_url": None,
    "redirect_slashes": False,
    "telemetry": dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False),
}
"""Switches off what FastAPI does without further parameters."""


def bare_api() -> FastAPI:
    """A FastAPI for routes alone."""
    return FastAPI(**BARE)


def declared_routes(api: FastAPI) -> list[APIRoute]:
    """The routes of `api`, each of which is a path, its methods and a handler.

    A twin is declared with these three alone, and `api` has to be like it down to the last attribute: a feature that
    a later FastAPI adds is refused as well.

    Raises:
        IgnoredFeatureError: on anything else, such as a dependency, a status code, a middleware or a mount.
    """
    routes, twin = [], bare_api()
    for route in api.routes:
        if type(route) is not APIRoute:
            raise IgnoredFeatureError(f"{route!r} is not an APIRoute, and only these are served")
        _check_handler(route)
        if any(type(convertor) is not StringConvertor for convertor in route.param_convertors.values()):
            raise IgnoredFeatureError(f"{route.path}: parts of a path are strings, and no convertor runs")
        twin.add_api_route(route.path, route.endpoint, methods=sorted(route.methods or ()))
        routes.append(route)
    if ignored := list(_differences(api, twin, "api", set())):
        raise IgnoredFeatureError(f"no effect: {', '.join(ignored)}")
    _check_order(routes)
    return routes


def _check_handler(route: APIRoute) -> None:
    signature = inspect.signature(route.endpoint, eval_str=True)
    parameters = [
        (parameter.annotation, parameter.kind, parameter.default) for parameter in signature.parameters.values()
    ]
    own = [(TodoRequest, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty)]
    returned = signature.return_annotation
    responds = isinstance(returned, type) and issubclass(returned, Response)
    if parameters != own or not responds or not inspect.iscoroutinefunction(route.endpoint):
        raise IgnoredFeatureError(
            f"{route.path}: a handler is `async def handler(request: TodoRequest) -> Response`, not {signature}"
        )


def _check_order(routes: list[APIRoute]) -> None:
    """FastAPI serves the first of two routes that match, the dispatcher a path without parameters before any other."""
    for one, other in combinations(routes, 2):
        if one.path == other.path:
            ambiguous = bool((one.methods or set()) & (other.methods or set()))
        else:
            is_first = "{" not in one.path
            ambiguous = not is_first and _may_match_the_same(one.path.split("/"), other.path.split("/"))
        if ambiguous:
            raise IgnoredFeatureError(f"{one.path} and {other.path} match the same requests; their order has no effect")


def _may_match_the_same(one: list[str], other: list[str]) -> bool:
    if len(one) != len(other):
        return False
    return all(a == b or "{" in a or "{" in b for a, b in zip(one, other, strict=True))


def _differences(found: object, plain: object, where: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """The innermost attributes in which the two differ; objects, containers and closures are walked, once each."""
    pair = (id(found), id(plain))
    if found is plain or pair in seen:
        return
    seen.add(pair)
    parts, plain_parts = _parts(found), _parts(plain)
    if type(found) is not type(plain) or not (parts and plain_parts):
        if found != plain:
            yield where
        return
    for name in dict.fromkeys([*parts, *plain_parts]):
        if name in parts and name in plain_parts:
            yield from _differences(parts[name], plain_parts[name], where + name, seen)
        else:
            yield where + name


def _parts(value: object) -> dict[str, object]:
    """What a value consists of, by how it is reached; nothing where the value is compared as a whole."""
    match value:
        case dict():
            return {f"[{key!r}]": part for key, part in value.items()}
        case list() | tuple():
            return {f"[{index}]": part for index, part in enumerate(value)}
        case MethodType():
            return {".__func__": value.__func__, ".__self__": value.__self__}
        case FunctionType():
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            closure: dict[str, object] = {f".{name}": cell.cell_contents for name, cell in cells}
            defaults = {".__defaults__": value.__defaults__, ".__kwdefaults__": value.__kwdefaults__}
            return {".__code__": value.__code__, **defaults, **closure}
        case type():
            return {}
        case _:
            return {f".{name}": part for name, part in getattr(value, "__dict__", {}).items()}
