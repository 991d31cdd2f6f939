"""What FastAPI would do and the dispatcher does not is refused at start."""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Body, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.middleware import Middleware
from starlette.routing import Route

from identity import Keyring
from todos import app as service
from todos.http.declared import BARE, IgnoredFeatureError, bare_api, declared_routes
from todos.http.request import TodoRequest
from todos.http.routes import api as served
from todos.settings import ServeSettings

PATH = "/planted"
OWN_PARAMETERS = {"self", "path", "endpoint", "methods"}


async def handler(request: TodoRequest) -> Response:
    return Response()


async def deny() -> None:
    raise HTTPException(403)


async def asgi(*_: object) -> None: ...


def respond(*_: object) -> Response:
    return Response()


class Outer:
    """A middleware."""

    def __init__(self, app: object) -> None:
        self.app = app

    async def __call__(self, *_: object) -> None: ...


class OtherRoute(APIRoute):
    pass


def other_name(route: APIRoute) -> str:
    return "other"


ROUTE_PARAMETERS: dict[str, Any] = {
    "callbacks": [APIRoute("/called-back", handler)],
    "dependencies": [Depends(deny)],
    "deprecated": True,
    "description": "other",
    "form_limits": {"max_fields": 1},
    "generate_unique_id_function": other_name,
    "include_in_schema": False,
    "max_body_size": 1,
    "name": "other",
    "openapi_extra": {"x-other": 1},
    "operation_id": "other",
    "response_class": PlainTextResponse,
    "response_description": "other",
    "response_model": dict[str, str],
    "response_model_by_alias": False,
    "response_model_exclude": {"id"},
    "response_model_exclude_defaults": True,
    "response_model_exclude_none": True,
    "response_model_exclude_unset": True,
    "response_model_include": {"id"},
    "responses": {404: {"description": "other"}},
    "route_class_override": OtherRoute,
    "status_code": 201,
    "strict_content_type": False,
    "summary": "other",
    "tags": ["other"],
}
"""A value other than the default of each parameter of a route but its path, methods and handler."""

ROUTER_PARAMETERS: dict[str, Any] = {
    **ROUTE_PARAMETERS,
    "default": asgi,
    "default_response_class": PlainTextResponse,
    "dependency_overrides_provider": None,
    "lifespan": lambda app: asgi(),
    "on_shutdown": [deny],
    "on_startup": [deny],
    "prefix": "/other",
    "redirect_slashes": True,
    "route_class": OtherRoute,
    "routes": [Route(PATH, asgi)],
}

APP_PARAMETERS: dict[str, Any] = {
    **ROUTER_PARAMETERS,
    "contact": {"name": "other"},
    "debug": True,
    "docs_url": "/docs",
    "exception_handlers": {404: respond},
    "license_info": {"name": "other"},
    "middleware": [Middleware(Outer)],
    "openapi_external_docs": {"url": "other"},
    "openapi_tags": [{"name": "other"}],
    "openapi_url": "/openapi.json",
    "redoc_url": "/redoc",
    "root_path": "/other",
    "root_path_in_servers": False,
    "separate_input_output_schemas": False,
    "servers": [{"url": "other"}],
    "swagger_ui_init_oauth": {"appName": "other"},
    "swagger_ui_oauth2_redirect_url": "/other",
    "swagger_ui_parameters": {"deepLinking": False},
    "telemetry": {"tracing": True},
    "terms_of_service": "other",
    "title": "other",
    "version": "other",
    "webhooks": APIRouter(routes=[APIRoute(PATH, handler)]),
}

DECLARING = sorted(
    name
    for name, method in inspect.getmembers(FastAPI, inspect.isfunction)
    if "response_model" in inspect.signature(method).parameters
)
"""The methods that declare a route."""

SILENT = {"build_middleware_stack", "openapi", "setup", "url_path_for"}
"""The methods that declare nothing."""

OTHER_METHODS: dict[str, Callable[[FastAPI], object]] = {
    "add_api_websocket_route": lambda api: api.add_api_websocket_route(PATH, asgi),
    "add_exception_handler": lambda api: api.add_exception_handler(ValueError, respond),
    "add_middleware": lambda api: api.add_middleware(Outer),
    "add_route": lambda api: api.add_route(PATH, respond),
    "exception_handler": lambda api: api.exception_handler(ValueError)(respond),
    "frontend": lambda api: api.frontend("/", directory="other", check_dir=False),
    "host": lambda api: api.host("example.org", Outer(asgi)),
    "include_router": lambda api: api.include_router(APIRouter(routes=[APIRoute(PATH, handler)])),
    "middleware": lambda api: api.middleware("http")(respond),
    "mount": lambda api: api.mount(PATH, Outer(asgi)),
    "on_event": lambda api: api.on_event("startup")(deny),
    "websocket": lambda api: api.websocket(PATH)(asgi),
    "websocket_route": lambda api: api.websocket_route(PATH)(asgi),
}
"""The methods that declare something else than a route of ours, each called."""


def parameters_of(declaring: Callable[..., object]) -> list[str]:
    """The names of the parameters, without those that a route is declared by."""
    return [name for name in inspect.signature(declaring).parameters if name not in OWN_PARAMETERS]


def declare(api: FastAPI, method: str, endpoint: Callable[..., object] = handler, **parameters: object) -> None:
    if method == "add_api_route":
        api.add_api_route(PATH, endpoint, **parameters)  # type: ignore[arg-type]  # the parameters vary by test
    else:
        getattr(api, method)(PATH, **parameters)(endpoint)


def test_the_routes_of_the_service_are_served() -> None:
    assert len(declared_routes(served)) == len(served.routes) > 10


@pytest.mark.parametrize("method", DECLARING)
def test_a_path_its_methods_and_a_handler_are_served(method: str) -> None:
    api = bare_api()
    declare(api, method)
    assert [(route.path, route.endpoint) for route in declared_routes(api)] == [(PATH, handler)]


@pytest.mark.parametrize(
    ("method", "name"), [(m, name) for m in DECLARING for name in parameters_of(getattr(FastAPI, m))]
)
def test_every_other_parameter_of_a_route_is_refused(method: str, name: str) -> None:
    api = bare_api()
    declare(api, method, **{name: ROUTE_PARAMETERS[name]})
    with pytest.raises(IgnoredFeatureError, match=name):
        declared_routes(api)


@pytest.mark.parametrize("name", parameters_of(APIRouter))
def test_every_parameter_of_the_router_is_refused(name: str) -> None:
    plain: dict[str, Any] = {"redirect_slashes": False, "strict_content_type": True}
    for parameters, refused in ((plain, False), ({**plain, name: ROUTER_PARAMETERS[name]}, True)):
        api = bare_api()
        api.router = APIRouter(**{"dependency_overrides_provider": api, **parameters})
        declare(api, "get")
        with pytest.raises(IgnoredFeatureError) if refused else nullcontext():
            declared_routes(api)


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("name", parameters_of(FastAPI))
def test_every_parameter_of_the_application_is_refused(name: str) -> None:
    for parameters, refused in (({}, False), ({name: APP_PARAMETERS[name]}, True)):
        api = FastAPI(**{**BARE, **parameters})
        declare(api, "get")
        with pytest.raises(IgnoredFeatureError) if refused else nullcontext():
            declared_routes(api)


def test_every_method_of_the_application_declares_a_route_or_nothing_or_is_refused() -> None:
    methods = {name for name, _ in inspect.getmembers(FastAPI, inspect.isfunction) if not name.startswith("_")}
    assert methods == {*DECLARING, *SILENT, *OTHER_METHODS}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_what_is_no_route_of_ours_is_refused(method: str) -> None:
    api = bare_api()
    OTHER_METHODS[method](api)
    with pytest.raises(IgnoredFeatureError):
        declared_routes(api)


async def with_query(request: TodoRequest, limit: int) -> Response:
    return Response()


async def with_default(request: TodoRequest, limit: int = 20) -> Response:
    return Response()


async def with_dependency(request: TodoRequest, proven: Annotated[None, Depends(deny)]) -> Response:
    return Response()


async def with_request_by_dependency(request: Annotated[TodoRequest, Depends(deny)]) -> Response:
    return Response()


async def with_body(request: TodoRequest, fields: Annotated[dict[str, str], Body()]) -> Response:
    return Response()


async def with_header(request: TodoRequest, if_match: Annotated[str, Header()]) -> Response:
    return Response()


async def with_background_tasks(request: TodoRequest, tasks: BackgroundTasks) -> Response:
    return Response()


async def with_response(request: TodoRequest, response: Response) -> Response:
    return Response()


async def without_request() -> Response:
    return Response()


async def of_any_request(request: Request) -> Response:
    return Response()


async def by_name(*, request: TodoRequest) -> Response:
    return Response()


async def returning_a_document(request: TodoRequest) -> dict[str, str]:
    return {}


async def returning_what_it_does_not_say(request: TodoRequest):  # type: ignore[no-untyped-def]  # noqa: ANN201 - planted
    return Response()


def without_await(request: TodoRequest) -> Response:
    return Response()


async def by_pieces(request: TodoRequest) -> AsyncIterator[str]:
    yield ""


@pytest.mark.parametrize(
    "endpoint",
    [
        with_query, with_default, with_dependency, with_request_by_dependency, with_body, with_header,
        with_background_tasks, with_response, without_request, of_any_request, by_name, returning_a_document,
        returning_what_it_does_not_say, without_await, by_pieces,
    ],
)  # fmt: skip
def test_every_other_signature_of_a_handler_is_refused(endpoint: Callable[..., object]) -> None:
    api = bare_api()
    declare(api, "get", endpoint)
    with pytest.raises(IgnoredFeatureError, match="async def handler"):
        declared_routes(api)


@pytest.mark.parametrize("path", ["/planted/{number:int}", "/planted/{rest:path}"])
def test_a_converted_part_of_a_path_is_refused(path: str) -> None:
    api = bare_api()
    api.get(path)(handler)
    with pytest.raises(IgnoredFeatureError, match="convertor"):
        declared_routes(api)


@pytest.mark.parametrize(("one", "other"), [(PATH, PATH), ("/{part}", PATH), ("/{one}/b", "/a/{other}")])
def test_routes_that_only_their_order_tells_apart_are_refused(one: str, other: str) -> None:
    api = bare_api()
    api.get(one)(handler)
    api.get(other)(handler)
    with pytest.raises(IgnoredFeatureError, match="order"):
        declared_routes(api)


def test_a_path_without_parameters_may_go_before_one_with_them() -> None:
    api = bare_api()
    api.get(PATH)(handler)
    api.get("/{part}")(handler)
    assert len(declared_routes(api)) == 2


def test_a_dependency_override_is_refused() -> None:
    api = bare_api()
    api.dependency_overrides[deny] = handler
    with pytest.raises(IgnoredFeatureError, match="dependency_overrides"):
        declared_routes(api)


async def test_a_service_with_a_route_behind_a_denying_dependency_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = bare_api()
    api.get(PATH, dependencies=[Depends(deny)])(handler)
    monkeypatch.setattr(service, "api", api)
    settings = ServeSettings(
        database_url=SecretStr("postgresql://app@localhost/todos"),
        identity_keys=Keyring({"test": bytes(range(32))}),
    )
    with pytest.raises(IgnoredFeatureError, match="dependencies"):
        async with service.open_service(settings):
            pass
