"""The body of an import: an array of todos, each under its id."""

from collections.abc import Generator, Sequence

from runtime import strict_json
from runtime.identifiers import is_canonical_uuid
from runtime.problems import Fault, ProblemError
from strict_http.asgi import Headers
from todos.database.command import Value
from todos.domain.faults import invalid_body
from todos.http.body import (
    JSON,
    MAX_FAULTS,
    MAX_VALUES,
    check_todo,
    client_set,
    excess_faults,
    not_json,
    require_media_type,
)
from todos.schema.limits import QUOTA
from todos.store.columns import column_values
from todos.store.repository import quota_used_up


def read_items(headers: Headers, body: bytes) -> Generator[None, None, list[dict[str, Value]]]:
    """The columns of each todo of an array, by all the rules of a PUT; each names its `id`, once.

    A step reads one todo at most. Reading ends with the fiftieth fault, and with the first todo that holds more than
    `MAX_VALUES`.

    Raises:
        ProblemError: `unsupported_media_type`, `bad_request`, `invalid` with pointers such as `/3/title`, `quota`.
    """
    require_media_type(headers, JSON)
    items: list[dict[str, Value]] = []
    faults: list[Fault] = []
    try:
        text = yield from strict_json.decode(body)
        yield from _read(text, items, faults)
    except ValueError:
        raise not_json() from None
    except strict_json.NotAnArrayError:
        raise invalid_body([Fault(pointer="", detail="should be an array")]) from None
    except strict_json.TooManyValuesError as excess:
        faults += _within(len(items), excess_faults(excess))
    if faults:
        raise invalid_body(faults[:MAX_FAULTS])
    if len(items) > QUOTA:
        raise quota_used_up()
    return items


def _read(text: str, items: list[dict[str, Value]], faults: list[Fault]) -> Generator[None]:
    seen: set[str] = set()
    for number, given in enumerate(strict_json.elements(text, most_values=MAX_VALUES)):
        item, found = _item(given, seen)
        items.append(item)
        faults += _within(number, found)
        if len(faults) >= MAX_FAULTS or len(items) > QUOTA:
            return
        yield


def _within(number: int, faults: Sequence[Fault]) -> list[Fault]:
    return [Fault(pointer=f"/{number}{fault['pointer']}", detail=fault["detail"]) for fault in faults]


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
        return {"id": todo_id, **column_values(check_todo(client_set(given)))}, []
    except ProblemError as error:
        return {}, error.faults
