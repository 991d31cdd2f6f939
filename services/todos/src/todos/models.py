"""The tables. The migrations make them; a test holds the two to each other."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, SmallInteger, Text
from sqlmodel import Field, SQLModel

Timestamp = DateTime(timezone=True)


class Todo(SQLModel, table=True):
    """One todo of one user, deleted ones included."""

    user_id: str = Field(sa_type=Text, primary_key=True)
    id: UUID = Field(primary_key=True)
    title: str = Field(sa_type=Text)
    description: str = Field(sa_type=Text)
    completed: bool
    priority: int = Field(sa_type=SmallInteger)
    """The rank, 0 for `none` to 4 for `urgent`."""
    tags: list[str] = Field(sa_type=ARRAY(Text))
    due_on: date | None
    """The all-day date; null where the due date is a moment or absent."""
    due_at: datetime | None = Field(sa_type=Timestamp)
    """The moment, or midnight of the all-day date in `timezone`."""
    timezone: str = Field(sa_type=Text)
    recurrence: str | None = Field(sa_type=Text)
    """The RRULE, in its canonical form."""
    order: int
    completed_at: datetime | None = Field(sa_type=Timestamp)
    created_at: datetime = Field(sa_type=Timestamp)
    updated_at: datetime = Field(sa_type=Timestamp)
    deleted_at: datetime | None = Field(sa_type=Timestamp)
    next_id: UUID | None
    """The todo that followed when this one was completed."""
    version: int = Field(sa_type=BigInteger)
    due_wall: datetime | None = Field(sa_type=DateTime)
    """The local time that the recurrence keeps, where the clocks skip it and `due_at` had to leave it."""


class UserState(SQLModel, table=True):
    """The row that puts one user's writers in line."""

    __tablename__ = "user_state"

    user_id: str = Field(sa_type=Text, primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    """The number of this user's latest change."""
    live_count: int
    """Todos that are not deleted, for the quota."""


TABLES = tuple(str(model.__tablename__) for model in (Todo, UserState))
