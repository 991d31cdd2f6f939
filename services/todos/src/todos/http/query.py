"""Query parameters, read strictly: a misspelt filter must never list everything."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import cast
from urllib.parse import quote, unquote_to_bytes

from runtime.problems import Fault
from todos.database.command import Value
from todos.domain import due_date
from todos.domain.faults import invalid_parameters
from todos.domain.fields import PRIORITIES, RANKS, has_control_characters
from todos.http import cursor, sync_token
from todos.store.changes import ChangesQuery, sync_reset
from todos.store.list_query import Filters, ListQuery
from todos.store.list_statements import SORT_FIELDS, Filter, Shape, Sort
from todos.store.sync_position import BEGINNING, SyncPosition

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
MAX_CHANGES = 500
DEFAULT_CHANGES = 100
MAX_Q = 100
MAX_TAG = 50

_LIMIT = re.compile(r"[1-9][0-9]{0,2}")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_REPEATABLE = frozenset({"priority", "tag"})

type Pairs = Sequence[tuple[str, str]]
type Readers = Mapping[str, Callable[[str], object]]


def parse_query(query: bytes) -> Pairs:
    """Names and values of a query, in order (URL Standard, section 5.1, but strict).

    Raises:
        ProblemError: `invalid`, an escape is broken or does not decode to UTF-8.
    """
    return [_pair(piece) for piece in query.split(b"&")] if query else []


def _pair(piece: bytes) -> tuple[str, str]:
    name, _, value = piece.partition(b"=")
    try:
        if _BROKEN_ESCAPE.search(piece):
            raise ValueError
        return _decoded(name), _decoded(value)
    except ValueError:
        shown = unquote_to_bytes(name).decode(errors="replace")
        raise invalid_parameters([Fault(parameter=shown, detail="is not percent-encoded UTF-8")]) from None


def _decoded(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode()


def no_parameters(query: bytes) -> None:
    """Refuse any parameter.

    Raises:
        ProblemError: `invalid`.
    """
    if query:
        raise invalid_parameters(
            [Fault(parameter=name, detail="is not a parameter of this route") for name, _ in parse_query(query)]
        )


def list_query(query: bytes, user_id: str) -> ListQuery:
    """Read the parameters of the list.

    Raises:
        ProblemError: `invalid`, with every fault.
    """
    pairs = parse_query(query)
    return _assemble(read_strictly(pairs, _READERS), [pair for pair in pairs if pair[0] != "cursor"], user_id)


def restore_query(query: bytes) -> Filters:
    """Read the filters of the list, and `deleted_after`, of a route that takes deleted todos alone.

    Raises:
        ProblemError: `invalid`, with every fault.
    """
    return _filters(read_strictly(parse_query(query), {name: _READERS[name] for name in _FILTERS}))


def filter_query(query: bytes) -> tuple[Filters, bool]:
    """Read the filters of the list, and whether they are of the deleted todos, of a route without order and pages.

    Raises:
        ProblemError: `invalid`, with every fault.
    """
    read = read_strictly(parse_query(query), {name: _READERS[name] for name in (*_FILTERS, "deleted")})
    return _filters(read), _of_deleted(read)


def changes_query(query: bytes, user_id: str) -> ChangesQuery:
    """Read the parameters.

    Raises:
        ProblemError: `invalid`, with every fault; `sync_reset` where `since` is another user's.
    """
    read = read_strictly(parse_query(query), {"since": str, "limit": limit_reader(MAX_CHANGES)})
    since: SyncPosition | None = BEGINNING
    if "since" in read:
        try:
            since = sync_token.decode(cast(str, read["since"]), user_id)
        except ValueError as error:
            raise invalid_parameters([Fault(parameter="since", detail=str(error))]) from None
    if since is None:
        raise sync_reset()
    return ChangesQuery(since, cast(int, read.get("limit", DEFAULT_CHANGES)))


def read_strictly(pairs: Pairs, readers: Readers) -> dict[str, object]:
    """The value of each given parameter, read by its reader, which raises ValueError for a wrong one.

    Raises:
        ProblemError: `invalid`, with every fault, those of unknown and of repeated parameters included.
    """
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    faults: list[Fault] = []
    read: dict[str, object] = {}
    for name, texts in given.items():
        try:
            read[name] = _read(name, texts, readers)
        except ValueError as error:
            faults.append(Fault(parameter=name, detail=str(error)))
    if faults:
        raise invalid_parameters(faults)
    return read


def _read(name: str, texts: list[str], readers: Readers) -> object:
    if name not in readers:
        raise ValueError("is not a parameter of this route")
    if name in _REPEATABLE:
        return sorted({readers[name](text) for text in texts})  # type: ignore[type-var]  # ranks or tags
    if len(texts) > 1:
        raise ValueError("may be given once")
    return readers[name](texts[0])


def _of_deleted(read: Mapping[str, object]) -> bool:
    """Raises `invalid` where a filter is of deleted todos, and those are not listed."""
    deleted = cast(bool, read.get("deleted", False))
    if "deleted_after" in read and not deleted:
        raise invalid_parameters([Fault(parameter="deleted_after", detail="goes with deleted=true")])
    return deleted


def _filters(read: Mapping[str, object]) -> Filters:
    values: dict[str, Value] = {name: cast(Value, read[name]) for name in _FILTERS if name in read}
    return Filters(frozenset(name for name in _FILTERS if name in read), values)


def _assemble(read: dict[str, object], pairs: Pairs, user_id: str) -> ListQuery:
    sort = cast(Sort, read.get("sort", Sort("created_at", descending=True)))
    deleted = _of_deleted(read)
    filters = _filters(read)
    values = filters.values
    bound_to = cursor.binding(user_id, sort, [deleted, {name: str(value) for name, value in values.items()}])
    after = read.get("cursor")
    if isinstance(after, str):
        try:
            position = cursor.decode(after, bound_to, sort.field)
        except ValueError:
            fault = Fault(parameter="cursor", detail="is not a cursor of this sort and these filters")
            raise invalid_parameters([fault]) from None
        values = values | {"after_key": _after_key(position, sort), "after_id": position.id}
    limit = cast(int, read.get("limit", DEFAULT_LIMIT))
    shape = Shape(sort, filters.names, deleted, after_cursor=after is not None)
    repeated = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return ListQuery(shape, {**values, "limit": limit + 1}, limit, bound_to, repeated)


def _after_key(position: cursor.Position, sort: Sort) -> Value:
    if isinstance(position.key, datetime):
        return position.key.replace(tzinfo=UTC)
    if position.key is None:
        return "-infinity" if sort.descending else "infinity"
    return position.key


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text == "true"


def _rank(text: str) -> int:
    for name in PRIORITIES:
        if text == name:
            return RANKS[name]
    raise ValueError(f"is none of {', '.join(PRIORITIES)}")


def _tag(text: str) -> str:
    if not 1 <= len(text) <= MAX_TAG or "," in text or has_control_characters(text):
        raise ValueError("is not a tag: 1 to 50 characters, no comma, no control character")
    return text


def _moment(text: str) -> datetime:
    due: date | datetime = due_date.parse(text)
    return due if isinstance(due, datetime) else datetime.combine(due, time(), UTC)


def _date_time(text: str) -> datetime:
    moment = due_date.parse(text)
    if not isinstance(moment, datetime):
        raise ValueError("is not an RFC 3339 date-time with offset")  # noqa: TRY004 - a wrong text, not a wrong type
    return moment


def _search(text: str) -> str:
    if not 1 <= len(text) <= MAX_Q or has_control_characters(text):
        raise ValueError("is not 1 to 100 characters without control characters")
    return text


def _sort(text: str) -> Sort:
    name = text.removeprefix("-")
    if name not in SORT_FIELDS:
        raise ValueError(f"is none of {', '.join(SORT_FIELDS)}, with or without a leading hyphen")
    return Sort(name, descending=text != name)


def limit_reader(largest: int) -> Callable[[str], int]:
    """Reads a number from 1 to `largest`, which has three digits."""

    def read(text: str) -> int:
        if not _LIMIT.fullmatch(text) or int(text) > largest:
            raise ValueError(f"is not a number from 1 to {largest}")
        return int(text)

    return read


_FILTERS: tuple[Filter, ...] = ("completed", "priority", "tag", "due_after", "due_before", "deleted_after", "q")
_READERS: Readers = {
    "completed": _boolean,
    "priority": _rank,
    "tag": _tag,
    "due_after": _moment,
    "due_before": _moment,
    "deleted_after": _date_time,
    "q": _search,
    "deleted": _boolean,
    "sort": _sort,
    "limit": limit_reader(MAX_LIMIT),
    "cursor": str,
}
