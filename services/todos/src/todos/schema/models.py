"""The tables. The migrations create them; a test compares the two."""

from datetime import date, datetime
from typing import ClassVar
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, Computed, DateTime, LargeBinary, SmallInteger, Text
from sqlmodel import Field, SQLModel

from todos.database.ownership import OF_USERS

Timestamp = DateTime(timezone=True)


class Todo(SQLModel, table=True):
    """One todo of one user, deleted ones included."""

    __table_args__: ClassVar = {"info": {OF_USERS: True}}

    user_id: str = Field(sa_type=Text, primary_key=True)
    id: UUID = Field(primary_key=True)
    title: str = Field(sa_type=Text)
    title_key: str = Field(sa_column=Column(Text(collation="C"), Computed("lower(title)", persisted=True)))
    """The sort key of the title; a column of its own, because row-level security would keep an expression out of the
    index."""
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
    next_version: int | None = Field(sa_type=BigInteger)
    """The version that it was made with; null where that is not known."""
    version: int = Field(sa_type=BigInteger)
    due_wall: datetime | None = Field(sa_type=DateTime)
    """The local time of the series, where the clocks skip it and `due_at` differs from it."""


class Tombstone(SQLModel, table=True):
    """What stays of a todo that was emptied from the bin, for clients that still hold it.

    A todo may be created again under its id, beside it.
    """

    __table_args__: ClassVar = {"info": {OF_USERS: True}}

    user_id: str = Field(sa_type=Text, primary_key=True)
    id: UUID = Field(primary_key=True)
    deleted_at: datetime = Field(sa_type=Timestamp)
    """When the todo was deleted, before it was emptied from the bin."""
    version: int = Field(sa_type=BigInteger)


class UserState(SQLModel, table=True):
    """The row that serialises one user's writers."""

    __tablename__ = "user_state"
    __table_args__: ClassVar = {"info": {OF_USERS: True}}

    user_id: str = Field(sa_type=Text, primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    """The number of this user's latest change."""
    live_count: int
    """Todos that are not deleted, for the quota."""
    purged_seq: int = Field(sa_type=BigInteger)
    """The highest number whose change can no longer be listed: that of a purged tombstone, or the one before the
    user's first."""


class Idempotency(SQLModel, table=True):
    """A creation that its client may repeat under the same key."""

    __table_args__: ClassVar = {"info": {OF_USERS: True}}

    user_id: str = Field(sa_type=Text, primary_key=True)
    key: str = Field(sa_type=Text, primary_key=True)
    digest: bytes = Field(sa_type=LargeBinary)
    """SHA-256 of the request's body."""
    answer: str = Field(sa_type=Text)
    """The todo of the answer, without its version and times, which the database sets."""
    version: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=Timestamp)
    """Of the todo and of this record."""


class SeenSignature(SQLModel, table=True):
    """A signed write that was received, and is refused if it comes again."""

    __tablename__ = "seen_signature"
    __table_args__: ClassVar = {"info": {OF_USERS: True}}

    user_id: str = Field(sa_type=Text, primary_key=True)
    proof: bytes = Field(sa_type=LargeBinary, primary_key=True)
    """The signature's 32 bytes."""
    expires: datetime = Field(sa_type=Timestamp)
    """When the signature expires."""


class Erasure(SQLModel, table=True):
    """A single row for all users: new users start above `highest`, so that numbers of erased users are never reused."""

    __table_args__: ClassVar = {"info": {OF_USERS: False}}

    only_row: bool = Field(primary_key=True)
    highest: int = Field(sa_type=BigInteger)


TABLES = tuple(name for name, table in SQLModel.metadata.tables.items() if table.info[OF_USERS])
"""The tables of users: each row belongs to one, behind row-level security."""
PRIVILEGES = {
    **dict.fromkeys(TABLES, frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})),
    str(Erasure.__tablename__): frozenset({"SELECT", "UPDATE"}),
}
"""The rights of the serving role on each table."""
