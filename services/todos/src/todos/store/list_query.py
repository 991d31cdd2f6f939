"""The filters and order of a list, a bulk operation or an export."""

from dataclasses import dataclass

from todos.database.command import Value
from todos.database.user_session import UserSession
from todos.store.list_statements import Filter, Shape


@dataclass(frozen=True, slots=True)
class Filters:
    """Which filters were given, and their values."""

    names: frozenset[Filter]
    values: dict[str, Value]


def session_for(session: UserSession, filters: frozenset[Filter]) -> UserSession:
    """The session in whose time a statement with these filters has to end."""
    return session.searching() if "q" in filters else session


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The parameters of `GET /v1/todos`."""

    shape: Shape
    values: dict[str, Value]
    limit: int
    bound_to: str
    """What the cursors of this list are valid for."""
    repeated: str
    """The query of every further page, without its cursor."""
