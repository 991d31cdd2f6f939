"""The contract in `api/openapi.yaml`, and whether an answer fits it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from http import HTTPMethod
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

type Node = dict[str, Any]
type Headers = Mapping[str, str] | Iterable[tuple[str, str]]

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT: Node = yaml.safe_load((ROOT / "api" / "openapi.yaml").read_text())
METHODS = frozenset(method.lower() for method in HTTPMethod)
TRANSPORT_HEADERS = frozenset(
    {"connection", "content-length", "content-type", "date", "keep-alive", "transfer-encoding"}
)
ELSEWHERE = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "InsufficientScope",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "ContentTooLarge",
    414: "UriTooLong",
    429: "RateLimited",
    431: "FieldsTooLarge",
    500: "Internal",
    502: "BadGateway",
    503: "Unavailable",
    504: "GatewayTimeout",
}
"""What may answer a method or a path that the document does not have."""

FORMATS = FormatChecker(formats=())
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATE_TIME = re.compile(_DATE.pattern + r"T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(_DATE.fullmatch(value) and date.fromisoformat(value))


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(_DATE_TIME.fullmatch(value) and datetime.fromisoformat(value))


@FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value


@FORMATS.checks("uri", raises=ValueError)
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(
        _URI.fullmatch(value) and urlsplit(value).scheme and urlsplit(value).netloc
    )


@FORMATS.checks("uri-reference")
def _is_uri_reference(value: object) -> bool:
    return not isinstance(value, str) or _URI.fullmatch(value) is not None


@FORMATS.checks("json-pointer")
def _is_json_pointer(value: object) -> bool:
    return not isinstance(value, str) or _POINTER.fullmatch(value) is not None


@FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


@FORMATS.checks("int64")
def _is_int64(value: object) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _closed(document: Node) -> Node:
    """The document with every named object closed: a client must bear new members, a test must not."""
    closed: Node = json.loads(json.dumps(document))
    for schema in closed["components"]["schemas"].values():
        if schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
    return closed


_REGISTRY: Registry[Any] = Registry().with_resource("urn:contract", DRAFT202012.create_resource(_closed(DOCUMENT)))


def pointer(*steps: str) -> str:
    """A JSON pointer (RFC 6901) to a place in the document."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def at(place: str) -> tuple[str, Any]:
    """What stands at a pointer, references followed, and the pointer to where it really stands."""
    node: Any = DOCUMENT
    for step in place.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        node = node[int(key)] if isinstance(node, list) else node[key]
    return at(node["$ref"].removeprefix("#")) if isinstance(node, dict) and "$ref" in node else (place, node)


def faults(place: str, value: object) -> list[str]:
    """How `value` breaks the schema at a pointer; empty where it fits."""
    schema = {"$ref": "urn:contract#" + quote(place)}
    validator = Draft202012Validator(schema, registry=_REGISTRY, format_checker=FORMATS)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def operations() -> Iterator[tuple[str, str, Node]]:
    """Method, path template and operation object of all that is served."""
    for path, item in DOCUMENT["paths"].items():
        for method in sorted(METHODS & item.keys()):
            yield method.upper(), path, item[method]


def answers(method: str, path_template: str) -> dict[int, str]:
    """The documented statuses of a request, each with the pointer to its response object."""
    if method.lower() in DOCUMENT["paths"].get(path_template, {}):
        place = pointer("paths", path_template, method.lower(), "responses")
        return {int(status): at(place + pointer(status))[0] for status in at(place)[1]}
    return {status: pointer("components", "responses", name) for status, name in ELSEWHERE.items()}


def check_response(method: str, path_template: str, status: int, headers: Headers, body: bytes) -> None:
    """Assert that an answer is one the document describes: status, headers, media type and body, nothing beyond.

    Args:
        method: of the request; one the document does not list must be refused as it says.
        path_template: a key of the document's `paths`, or any other path.
        status: of the answer.
        headers: of the answer, names in any case.
        body: of the answer, as it came.
    """
    where = f"{method} {path_template} {status}"
    documented = answers(method, path_template)
    assert status in documented, f"{where}: the document has {sorted(documented)}"
    place, response = at(documented[status])
    received = _received(headers)

    _check_headers(where, place, received)
    if status < 400 or status == 429:
        assert {"ratelimit", "ratelimit-policy"} <= received.keys(), f"{where}: RateLimit or its policy is missing"
    media = response.get("content")
    if method == "HEAD" or media is None:
        assert body == b"", f"{where}: a body, where there is none: {body[:200]!r}"
        return
    media_type = received.get("content-type", "").partition(";")[0].strip().lower()
    assert media_type in media, f"{where}: Content-Type {media_type!r}, the document has {sorted(media)}"
    value: Any = json.loads(body) if media_type.endswith("json") else body.decode()
    broken = faults(place + pointer("content", media_type, "schema"), value)
    assert not broken, f"{where}: {'; '.join(broken)}\n{body[:1000]!r}"
    if media_type == "application/problem+json":
        assert value["instance"] == f"urn:uuid:{received['x-request-id']}", f"{where}: instance is not X-Request-Id"


def _received(headers: Headers) -> dict[str, str]:
    """Values by lower-case name, those of one name joined (RFC 9110 section 5.3)."""
    received: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key = name.lower()
        received[key] = f"{received[key]}, {value}" if key in received else value
    return received


def _check_headers(where: str, place: str, received: Mapping[str, str]) -> None:
    documented = {name.lower(): at(place + pointer("headers", name)) for name in at(place)[1]["headers"]}
    unknown = received.keys() - documented.keys() - TRANSPORT_HEADERS
    assert not unknown, f"{where}: headers the document does not have: {sorted(unknown)}"
    for name, (header_place, header) in documented.items():
        if name in received:
            broken = faults(header_place + "/schema", received[name])
            assert not broken, f"{where}: {name}: {'; '.join(broken)}"
        else:
            assert not header.get("required"), f"{where}: {name} is missing"
