"""Request bodies: strict JSON, then the fields' limits. The work is linear in the bytes, and never long."""

from collections.abc import Iterable, Mapping
from itertools import islice

from pydantic import ValidationError

from runtime import strict_json
from runtime.problems import Fault, ProblemError
from strict_http.asgi import Headers
from todos.domain.faults import invalid_body
from todos.domain.fields import SERVER_SET, TodoFields

JSON = frozenset({b"application/json"})
JSON_OR_MERGE_PATCH = JSON | {b"application/merge-patch+json"}
_ACCEPT_PATCH = (b"accept-patch", b", ".join(sorted(JSON_OR_MERGE_PATCH)))
"""RFC 5789 section 3.1."""
MAX_FAULTS = 50
MAX_VALUES = 500
"""Of one todo: its members, and all that is in them. Reading ends with the next one."""


def parse_todo(headers: Headers, body: bytes) -> TodoFields:
    """A whole todo, of a POST or PUT; what the client left out has its default.

    Raises:
        ProblemError: `unsupported_media_type`, `bad_request` (no JSON), `invalid`.
    """
    return check_todo(client_set(_document(headers, body, JSON)))


def parse_patch(headers: Headers, body: bytes) -> dict[str, object]:
    """The fields that a merge patch changes (RFC 7396), null turned into the default.

    Raises:
        ProblemError: as `parse_todo`.
    """
    given = client_set(_document(headers, body, JSON_OR_MERGE_PATCH))
    changes = {name: _default(name) if value is None else value for name, value in given.items()}
    fields = check_todo({"title": "any", **changes})
    return {name: getattr(fields, name) for name in changes}


def _default(name: str) -> object:
    known = TodoFields.model_fields.get(name)
    return known.get_default(call_default_factory=False) if known and not known.is_required() else None


def client_set(document: Mapping[str, object]) -> dict[str, object]:
    """The members that are not the server's to set."""
    return {name: value for name, value in document.items() if name not in SERVER_SET}


def _document(headers: Headers, body: bytes, media_types: frozenset[bytes]) -> dict[str, object]:
    require_media_type(headers, media_types)
    try:
        document = strict_json.parse(body, most_values=MAX_VALUES)
    except ValueError:
        raise not_json() from None
    except strict_json.TooManyValuesError as excess:
        raise invalid_body(excess_faults(excess)) from None
    if not isinstance(document, dict):
        raise invalid_body([Fault(pointer="", detail="should be an object")])
    return document


def require_media_type(headers: Headers, media_types: frozenset[bytes]) -> None:
    """Raises `unsupported_media_type` unless the body says that it is of one of these types."""
    given = [value.partition(b";")[0].strip().lower() for name, value in headers if name == b"content-type"]
    if len(given) != 1 or given[0] not in media_types:
        wanted = " or ".join(sorted(kind.decode() for kind in media_types))
        accepted = [_ACCEPT_PATCH] if media_types == JSON_OR_MERGE_PATCH else []
        raise ProblemError("unsupported_media_type", f"The body has to be {wanted}.", headers=accepted)


def not_json() -> ProblemError:
    """400, for what `strict_json` does not take."""
    return ProblemError("bad_request", "The body is not JSON as RFC 8259 and I-JSON have it.")


def check_todo(values: Mapping[str, object]) -> TodoFields:
    """The fields of a todo; members that it does not have never reach the model.

    Raises:
        ProblemError: `invalid`, with the first faults.
    """
    known = {name: value for name, value in values.items() if name in TodoFields.model_fields}
    unknown = _unknown(values) if len(known) < len(values) else []
    try:
        fields = TodoFields.model_validate(known)
    except ValidationError as error:
        raise invalid_body([*_faults(error), *unknown][:MAX_FAULTS]) from None
    if unknown:
        raise invalid_body(unknown)
    return fields


def excess_faults(excess: strict_json.TooManyValuesError) -> list[Fault]:
    """What is wrong with what holds more than `MAX_VALUES`: members that no todo has, or else one that is too long."""
    if isinstance(excess.read, dict) and (unknown := _unknown(client_set(excess.read))):
        return unknown
    return [Fault(pointer=_pointer(excess.location), detail="holds too many values")]


def _unknown(names: Iterable[str]) -> list[Fault]:
    unknown = (name for name in names if name not in TodoFields.model_fields)
    return [Fault(pointer=_pointer((name,)), detail="is not a field of a todo") for name in islice(unknown, MAX_FAULTS)]


def _faults(error: ValidationError) -> list[Fault]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [Fault(pointer=_pointer(fault["loc"]), detail=_detail(fault["msg"])) for fault in found]


def _pointer(location: strict_json.Location) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _detail(message: str) -> str:
    return message.removeprefix("Value error, ")
