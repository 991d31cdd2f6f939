"""What a list, a bulk operation or an export selects."""

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
    """What `GET /v1/todos` was asked for."""

    shape: Shape
    values: dict[str, Value]
    limit: int
    bound_to: str
    """What the cursors of this list are good for."""
    repeated: str
    """The query of every further page, but for its cursor."""
