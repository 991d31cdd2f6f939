"""The document is valid, says one thing only, and is what the code serves."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import routes as gateway_routes
from runtime.problems import STATUS
from tests.contract import DOCUMENT, ELSEWHERE, FORMATS, Node, at, check_response, faults, operations, pointer
from todos.domain.fields import SERVER_SET, TodoFields
from todos.http.declared import declared_routes
from todos.http.routes import api

PROBLEM = "application/problem+json"
RESPONSES: Node = DOCUMENT["components"]["responses"]
PROBLEMS = sorted(name for name, response in RESPONSES.items() if PROBLEM in response.get("content", {}))
OPERATIONS = [pytest.param(operation, id=f"{method} {path}") for method, path, operation in operations()]

REQUEST_ID = "0192f672-c671-7d22-9a6f-4c2e3b7d0f15"
TODO = at("/components/examples/Todo")[1]["value"]
TODO_HEADERS = {
    "content-type": "application/json",
    "x-request-id": REQUEST_ID,
    "ratelimit": '"user";r=42;t=18',
    "ratelimit-policy": '"user";q=600;w=60',
    "cache-control": "private, no-cache",
    "vary": "Authorization",
    "etag": '"1730711565679"',
}
NOT_FOUND = at("/components/responses/NotFound")[1]["content"][PROBLEM]["examples"]["not_found"]["value"]
NOT_FOUND_HEADERS = {"Content-Type": PROBLEM, "X-Request-Id": REQUEST_ID, "Cache-Control": "no-store"}


def nodes(node: Any = DOCUMENT, place: str = "") -> Iterator[tuple[str, Node]]:
    """Every object of the document outside its examples, with its pointer."""
    if isinstance(node, dict):
        yield place, node
        for key in node.keys() - {"example", "examples", "default"}:
            yield from nodes(node[key], place + pointer(key))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from nodes(child, f"{place}/{index}")


def examples() -> Iterator[tuple[str, str, Any]]:
    """Every example and default: where it stands, the pointer to the schema it must fit, and its value."""
    for place, node in nodes():
        if "schema" in node:
            for name in node.get("examples", {}):
                yield f"{place}/{name}", f"{place}/schema", at(f"{place}/examples/{name}")[1]["value"]
            if "example" in node:
                yield f"{place}/example", f"{place}/schema", node["example"]
        elif isinstance(node.get("examples"), list):
            yield from ((f"{place}/examples/{index}", place, value) for index, value in enumerate(node["examples"]))
        if "default" in node:
            yield f"{place}/default", place, node["default"]


def allowed(response: str, member: str) -> set[Any]:
    """The values a reusable error leaves to a member of its problem."""

    def narrow(schema: Node) -> Iterator[set[Any]]:
        if "$ref" in schema:
            yield from narrow(at(schema["$ref"].removeprefix("#"))[1])
        rule = schema.get("properties", {}).get(member, {})
        yield from [{rule["const"]}] if "const" in rule else [set(rule["enum"])] if "enum" in rule else []
        for part in schema.get("allOf", []):
            yield from narrow(part)

    return set.intersection(*narrow(RESPONSES[response]["content"][PROBLEM]["schema"]))


def test_the_document_is_valid_openapi() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


@pytest.mark.parametrize(
    ("schema", "value"), [pytest.param(*case[1:], id=case[0]) for case in sorted(examples(), key=str)]
)
def test_every_example_and_default_fits_its_schema(schema: str, value: Any) -> None:
    assert faults(schema, value) == []


def test_every_problem_code_and_every_body_has_an_example() -> None:
    media = [node for place, node in nodes() if place.endswith(("/application~1json", "/application~1problem+json"))]
    assert media
    assert all(node["examples"] for node in media)
    shown = {value["code"] for place, _, value in examples() if "problem+json" in place}
    assert shown == set(STATUS)


def test_the_codes_are_the_one_table() -> None:
    enum = DOCUMENT["components"]["schemas"]["ProblemCode"]["enum"]
    assert sorted(enum) == sorted(STATUS)


def test_each_code_has_the_status_of_the_one_table() -> None:
    documented = {(code, *allowed(name, "status")) for name in PROBLEMS for code in allowed(name, "code")}
    assert documented == set(STATUS.items())


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_error_has_the_phrase_of_its_status_as_title(name: str) -> None:
    (status,) = allowed(name, "status")
    assert allowed(name, "title") == {HTTPStatus(status).phrase}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_needs_a_bearer_token(operation: Node) -> None:
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert operation.get("security", DOCUMENT["security"]) == [{"bearer": []}]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_lists_its_statuses_one_by_one(operation: Node) -> None:
    statuses = operation["responses"].keys()
    assert {"400", "401", "429", "500", "502", "503", "504"} <= statuses
    assert all(status.isdecimal() for status in statuses)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_status_leads_to_an_error_of_that_status(operation: Node) -> None:
    listed = {
        status: response.get("$ref", "").rpartition("/")[2] for status, response in operation["responses"].items()
    }
    assert {status: {int(status)} for status, name in listed.items() if name in PROBLEMS} == {
        status: allowed(name, "status") for status, name in listed.items() if int(status) >= 400
    }


def test_head_is_documented_as_get_is() -> None:
    """RFC 9110 section 9.3.2."""
    by_method = {(method, path): operation for method, path, operation in operations()}
    heads = {path: operation for (method, path), operation in by_method.items() if method == "HEAD"}
    assert heads.keys() == {path for method, path in by_method if method == "GET"}
    for path, head in heads.items():
        get = by_method["GET", path]
        assert [head.get(part) for part in ("parameters", "responses")] == [
            get.get(part) for part in ("parameters", "responses")
        ]


def test_what_answers_elsewhere_is_named_by_its_status() -> None:
    assert {status: allowed(name, "status") for status, name in ELSEWHERE.items()} == {s: {s} for s in ELSEWHERE}


def test_every_component_is_used() -> None:
    used = {node["$ref"] for _, node in nodes() if "$ref" in node}
    used |= {example["$ref"] for _, node in nodes() for example in _named(node) if "$ref" in example}
    kept = {f"#/components/{kind}/{name}" for kind, part in DOCUMENT["components"].items() for name in part}
    assert kept - used == {"#/components/securitySchemes/bearer", "#/components/responses/MethodNotAllowed"}


def _named(node: Node) -> list[Node]:
    return list(node["examples"].values()) if isinstance(node.get("examples"), dict) else []


def test_every_format_of_the_document_is_checked() -> None:
    named = {node["format"] for _, node in nodes() if isinstance(node.get("format"), str)}
    assert named == set(FORMATS.checkers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("date", "2024-02-30"),
        ("date", "20240203"),
        ("date-time", "2024-02-03T04:05:06"),
        ("date-time", "2024-02-03 04:05:06Z"),
        ("date-time", "2024-02-03T24:05:06Z"),
        ("int32", 2**31),
        ("int64", 2**63),
        ("json-pointer", "title"),
        ("uri", "/v1/todos"),
        ("uri-reference", "/v1/to dos"),
        ("uuid", "0192F672-C671-7D22-9A6F-4C2E3B7D0F15"),
        ("uuid", "0192f672c6717d229a6f4c2e3b7d0f15"),
        ("uuid", "7"),
    ],
)
def test_a_wrong_spelling_of_a_format_is_refused(name: str, value: object) -> None:
    assert not FORMATS.conforms(value, name)


def served_by_todos() -> set[tuple[str, str]]:
    """Method and path of every route of the todo service, its parameters without names."""
    return {(method, nameless(route.path)) for route in declared_routes(api) for method in route.methods or ()}


def nameless(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_the_todo_service_serves_the_document_and_nothing_else() -> None:
    assert served_by_todos() == {(method, nameless(path)) for method, path, _ in operations()}


def test_the_gateway_knows_the_paths_and_methods_of_the_document() -> None:
    assert set(gateway_routes.TEMPLATES) == DOCUMENT["paths"].keys()
    assert {method for method, _, _ in operations()} == gateway_routes.METHODS


def test_the_fields_of_a_body_are_those_the_code_knows() -> None:
    for name, read in {"NewTodo": set(), "TodoPatch": set(), "ImportedTodo": {"id"}}.items():
        properties = DOCUMENT["components"]["schemas"][name]["properties"]
        ignored = {
            field for field, schema in properties.items() if schema == {"$ref": "#/components/schemas/ServerSet"}
        }
        assert ignored == SERVER_SET - read
        assert properties.keys() - ignored == TodoFields.model_fields.keys() | read


def test_a_read_todo_may_be_written_back() -> None:
    assert faults("/components/schemas/NewTodo", TODO) == []
    assert faults("/components/schemas/TodoPatch", TODO) == []


@pytest.mark.parametrize("schema", ["NewTodo", "TodoPatch"])
@pytest.mark.parametrize(
    "fault",
    [
        {"user_id": "alice"},
        {"title": None},
        {"title": ""},
        {"title": "x" * 201},
        {"title": "bell\x07"},
        {"description": "nul\x00"},
        {"completed": "yes"},
        {"priority": "highest"},
        {"tags": ["a", "a"]},
        {"tags": ["a,b"]},
        {"tags": [str(number) for number in range(21)]},
        {"due_date": "tomorrow"},
        {"due_date": "2024-02-03T04:05:06"},
        {"order": 2**31},
        {"order": "7"},
        {"recurrence": "DAILY"},
        {"recurrence": "FREQ=DAILY " + "x" * 500},
    ],
    ids=str,
)
def test_a_body_that_breaks_a_limit_breaks_its_schema(schema: str, fault: dict[str, object]) -> None:
    assert faults(f"/components/schemas/{schema}", {"title": "x"} | fault)


def test_an_answer_as_documented_is_accepted() -> None:
    check_response("GET", "/v1/todos/{id}", 200, TODO_HEADERS, json.dumps(TODO).encode())
    check_response("GET", "/v1/todos/{id}", 404, NOT_FOUND_HEADERS, json.dumps(NOT_FOUND).encode())
    check_response("GET", "/v1/nowhere", 404, NOT_FOUND_HEADERS.items(), json.dumps(NOT_FOUND).encode())


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        pytest.param(206, TODO_HEADERS, TODO, id="another status"),
        pytest.param(200, TODO_HEADERS | {"etag": "1"}, TODO, id="a malformed header"),
        pytest.param(200, TODO_HEADERS | {"server": "us"}, TODO, id="an unknown header"),
        pytest.param(200, {**TODO_HEADERS, "content-type": "text/html"}, TODO, id="another media type"),
        pytest.param(200, TODO_HEADERS, TODO | {"user_id": "alice"}, id="an unknown member"),
        pytest.param(200, TODO_HEADERS, {"title": "x"}, id="missing members"),
        pytest.param(200, NOT_FOUND_HEADERS, TODO, id="missing headers"),
        pytest.param(404, NOT_FOUND_HEADERS, NOT_FOUND | {"code": "invalid"}, id="a code of another status"),
        pytest.param(404, NOT_FOUND_HEADERS, NOT_FOUND | {"instance": f"urn:uuid:{TODO['id']}"}, id="another instance"),
    ],
)
def test_an_answer_beyond_the_document_is_refused(status: int, headers: dict[str, str], body: object) -> None:
    with pytest.raises(AssertionError):
        check_response("GET", "/v1/todos/{id}", status, headers, json.dumps(body).encode())


def test_a_success_that_does_not_tell_the_limits_is_refused() -> None:
    headers = {name: value for name, value in TODO_HEADERS.items() if name != "ratelimit"}
    with pytest.raises(AssertionError, match="RateLimit"):
        check_response("GET", "/v1/todos/{id}", 200, headers, json.dumps(TODO).encode())


def test_a_body_where_there_is_none_is_refused() -> None:
    headers = {
        name: value for name, value in TODO_HEADERS.items() if name in {"x-request-id", "ratelimit", "ratelimit-policy"}
    }
    check_response("DELETE", "/v1/todos/{id}", 204, headers, b"")
    with pytest.raises(AssertionError):
        check_response("DELETE", "/v1/todos/{id}", 204, headers, b"{}")
