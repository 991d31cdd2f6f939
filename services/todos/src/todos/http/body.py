"""Request bodies: strict JSON (RFC 8259), then the fields' limits."""

import json
import re
from collections.abc import Mapping
from typing import Never

from pydantic import ValidationError

from runtime.problems import Fault, ProblemError
from strict_http.asgi import Headers
from todos.domain.faults import invalid_body
from todos.domain.fields import SERVER_SET, TodoFields

JSON = frozenset({b"application/json"})
JSON_OR_MERGE_PATCH = JSON | {b"application/merge-patch+json"}
_ACCEPT_PATCH = (b"accept-patch", b", ".join(sorted(JSON_OR_MERGE_PATCH)))
"""RFC 5789 section 3.1."""
MAX_FAULTS = 50

_INT64_DIGITS = 20
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_todo(headers: Headers, body: bytes) -> TodoFields:
    """A whole todo, of a POST or PUT; what the client left out has its default.

    Raises:
        ProblemError: `unsupported_media_type`, `bad_request` (no JSON), `invalid`.
    """
    return _validated(client_set(_document(headers, body, JSON)))


def parse_patch(headers: Headers, body: bytes) -> dict[str, object]:
    """The fields that a merge patch changes (RFC 7396), null turned into the default.

    Raises:
        ProblemError: as `parse_todo`.
    """
    given = client_set(_document(headers, body, JSON_OR_MERGE_PATCH))
    changes = {name: _default(name) if value is None else value for name, value in given.items()}
    fields = _validated({"title": "any", **changes})
    return {name: getattr(fields, name) for name in changes}


def _default(name: str) -> object:
    known = TodoFields.model_fields.get(name)
    return known.get_default(call_default_factory=False) if known and not known.is_required() else None


def client_set(document: Mapping[str, object]) -> dict[str, object]:
    """The members that are not the server's to set."""
    return {name: value for name, value in document.items() if name not in SERVER_SET}


def _document(headers: Headers, body: bytes, media_types: frozenset[bytes]) -> dict[str, object]:
    document = read_document(headers, body, media_types)
    if not isinstance(document, dict):
        raise invalid_body([Fault(pointer="", detail="should be an object")])
    return document


def read_document(headers: Headers, body: bytes, media_types: frozenset[bytes]) -> object:
    """The JSON of a body that says it is of one of these types.

    Raises:
        ProblemError: `unsupported_media_type`, `bad_request`.
    """
    given = [value.partition(b";")[0].strip().lower() for name, value in headers if name == b"content-type"]
    if len(given) != 1 or given[0] not in media_types:
        wanted = " or ".join(sorted(kind.decode() for kind in media_types))
        accepted = [_ACCEPT_PATCH] if media_types == JSON_OR_MERGE_PATCH else []
        raise ProblemError("unsupported_media_type", f"The body has to be {wanted}.", headers=accepted)
    return parse_json(body)


def parse_json(body: bytes) -> object:
    """Read JSON, in UTF-8 and without repeated members, `NaN`, `Infinity` and lone surrogates.

    Integers too long for 64 bits come back as floats, which no field takes.

    Raises:
        ProblemError: `bad_request`.
    """
    try:
        document: object = json.loads(
            body.decode(), object_pairs_hook=_members, parse_constant=_no_constant, parse_int=_integer
        )
        if _SURROGATE_ESCAPE.search(body):
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ProblemError("bad_request", "The body is not JSON as RFC 8259 and I-JSON have it.") from None
    return document


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_constant(_name: str) -> Never:
    raise ValueError


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _INT64_DIGITS else float(text)


def _validated(values: Mapping[str, object]) -> TodoFields:
    try:
        return TodoFields.model_validate(values)
    except ValidationError as error:
        raise invalid_body(faults_of(error)[:MAX_FAULTS]) from None


def faults_of(error: ValidationError) -> list[Fault]:
    """What broke the fields' limits, and where."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [Fault(pointer=_pointer(fault["loc"]), detail=_detail(fault["msg"])) for fault in found]


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _detail(message: str) -> str:
    return message.removeprefix("Value error, ")
