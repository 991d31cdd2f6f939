"""The numbers of a user's changes: each changed row takes the next one of its user's own sequence."""

from sqlalchemy import CTE, BigInteger, Integer, Text, bindparam, cast, func, literal_column, select, update
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from todos.schema.models import Erasure, UserState

ONE: ColumnElement[int] = literal_column("1", Integer)

# Unix time in milliseconds, unless numbers of an erased user reach beyond it; 3, since `first - 1` becomes the
# user's `purged_seq`, and clients may hold `first - 2`
FIRST_NUMBER: ColumnElement[int] = func.greatest(
    cast(func.extract("epoch", func.now()) * literal_column("1000"), BigInteger),
    select(col(Erasure.highest) + literal_column("3", Integer)).scalar_subquery(),
)

state_of_user = col(UserState.user_id) == bindparam("user_id", type_=Text)


def next_numbers(
    *conditions: ColumnElement[bool], count: ColumnElement[int] = ONE, live: ColumnElement[int] | None = None
) -> CTE:
    """Takes the user's next `count` numbers, and adds `live` to the count of live todos, where `conditions` hold.

    Returns:
        One row, or none where a condition does not hold or there is no such user: `before`, the number before
        those taken; `seq`, the last of them; `live_count` as it is then; `at`, the moment.
    """
    values = {"seq": col(UserState.seq) + count}
    if live is not None:
        values["live_count"] = col(UserState.live_count) + live
    return (
        update(UserState)
        .where(state_of_user, *conditions)
        .values(values)
        .returning(
            (col(UserState.seq) - count).label("before"),
            col(UserState.seq),
            col(UserState.live_count),
            func.clock_timestamp().label("at"),
        )
        .cte("state")
    )
