"""Statistics of a user's todos."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Integer, Text, and_, cast, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, array
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from todos.database.command import Command, Statement, compiled
from todos.database.user_session import UserSession
from todos.domain import due_date
from todos.domain.fields import PRIORITIES
from todos.schema.models import Todo
from todos.store import statements
from todos.store.columns import utc

TOP_TAGS = 100

_DAY_AT_MOST = "50 hours"
"""The longest day between two midnights under any change of clocks."""


class StatsRow(NamedTuple):
    """Counts of live todos; `days` are all-day dates whose next midnight may be over or not."""

    total: int
    completed: int
    overdue: int
    by_priority: list[int]
    days: list[tuple[str, str, int]]
    tags: list[tuple[str, int]]
    now: datetime


async def read_stats(scope: UserSession) -> dict[str, object]:
    """The document of `GET /v1/stats`."""
    (row,) = await scope.read(Command(read))
    now = row.now.replace(tzinfo=UTC)
    overdue = row.overdue + sum(count for day, timezone, count in row.days if _is_over(day, timezone, now))
    return {
        "total": row.total,
        "open": row.total - row.completed,
        "completed": row.completed,
        "overdue": overdue,
        "by_priority": dict(zip(PRIORITIES, row.by_priority, strict=True)),
        "tags": [{"tag": tag, "count": count} for tag, count in row.tags],
    }


def _is_over(day: str, timezone: str, now: datetime) -> bool:
    # computed here and not by the database, whose time zones may be of another release
    _, midnight = due_date.resolve(date.fromisoformat(day) + timedelta(days=1), timezone)
    return midnight is not None and midnight <= now


def _read() -> Statement[StatsRow]:
    live = (
        select(
            col(Todo.completed),
            col(Todo.priority),
            col(Todo.due_on),
            col(Todo.due_at),
            col(Todo.timezone),
            col(Todo.tags),
        )
        .where(statements.of_user, col(Todo.deleted_at).is_(None))
        .cte("live")
    )
    due, all_day = live.c.due_at, live.c.due_on.is_not(None)
    is_open = ~live.c.completed
    surely_over = func.now() - literal_column(f"interval '{_DAY_AT_MOST}'")
    overdue = and_(is_open, or_(and_(~all_day, due <= func.now()), due <= surely_over))
    days = (
        select(live.c.due_on, live.c.timezone, func.count().label("count"))
        .where(is_open, all_day, due <= func.now(), due > surely_over)
        .group_by(live.c.due_on, live.c.timezone)
        .subquery("days")
    )
    tag = func.unnest(live.c.tags).column_valued("tag")
    name = cast(tag, Text).collate("C")
    tags = (
        select(name.label("tag"), func.count().label("count"))
        .select_from(live)
        .group_by(name)
        .order_by(func.count().desc(), name)
        .limit(literal_column(str(TOP_TAGS), Integer))
        .subquery("tags")
    )
    counted = select(
        func.count(),
        _count(live.c.completed),
        _count(overdue),
        array([_count(live.c.priority == literal_column(str(rank))) for rank in range(len(PRIORITIES))]),
        select(_listed(func.json_build_array(days.c.due_on, days.c.timezone, days.c.count))).scalar_subquery(),
        select(
            _listed(
                aggregate_order_by(func.json_build_array(tags.c.tag, tags.c.count), tags.c.count.desc(), tags.c.tag)
            )
        ).scalar_subquery(),
        utc(func.now()),
    ).select_from(live)
    return compiled(counted, StatsRow)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(condition)


def _listed(items: ColumnElement[object]) -> ColumnElement[object]:
    return func.coalesce(func.json_agg(items), literal_column("'[]'::json"))


read = _read()
