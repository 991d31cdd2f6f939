"""The body of an import: an array of todos, each under its id."""

from collections.abc import Sequence

from pydantic import ValidationError

from runtime.identifiers import is_canonical_uuid
from runtime.problems import Fault, ProblemError
from strict_http.asgi import Headers
from todos.database.command import Value
from todos.domain.faults import invalid_body
from todos.domain.fields import TodoFields
from todos.http.body import JSON, MAX_FAULTS, client_set, faults_of, read_document
from todos.schema.limits import QUOTA
from todos.store.repository import column_values, quota_used_up


def read_items(headers: Headers, body: bytes) -> list[dict[str, Value]]:
    """The columns of each todo of an array, by all the rules of a PUT; each names its `id`, once.

    Raises:
        ProblemError: `unsupported_media_type`, `bad_request`, `invalid` with pointers such as `/3/title`, `quota`.
    """
    document = read_document(headers, body, JSON)
    if not isinstance(document, list):
        raise invalid_body([Fault(pointer="", detail="should be an array")])
    if len(document) > QUOTA:
        raise quota_used_up()
    faults: list[Fault] = []
    items: list[dict[str, Value]] = []
    seen: set[str] = set()
    for number, given in enumerate(document):
        item, found = _item(given, seen)
        faults += [Fault(pointer=f"/{number}{fault['pointer']}", detail=fault["detail"]) for fault in found]
        items.append(item)
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise invalid_body(faults[:MAX_FAULTS])
    return items


def _item(given: object, seen: set[str]) -> tuple[dict[str, Value], Sequence[Fault]]:
    if not isinstance(given, dict):
        return {}, [Fault(pointer="", detail="should be an object")]
    todo_id = given.get("id")
    if not isinstance(todo_id, str) or not is_canonical_uuid(todo_id):
        return {}, [Fault(pointer="/id", detail="should be a UUID, in lower case with hyphens")]
    if todo_id in seen:
        return {}, [Fault(pointer="/id", detail="stands in this import twice")]
    seen.add(todo_id)
    try:
        fields = TodoFields.model_validate(client_set(given))
        return {"id": todo_id, **column_values(fields)}, []
    except ValidationError as error:
        return {}, faults_of(error)
    except ProblemError as error:
        return {}, error.faults
