"""The todo service as a competent reader of the FastAPI, SQLModel and SQLAlchemy documentation writes it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, Header, Query
from pydantic_settings import BaseSettings
from sqlalchemy import ARRAY, BigInteger, Column, Computed, DateTime, Text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

Timestamp = DateTime(timezone=True)


class Settings(BaseSettings):
    database_url: str = ""


class TodoCreate(SQLModel):
    title: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=10_000)
    priority: int = Field(default=0, ge=0, le=4)
    tags: list[str] = Field(default=[], max_length=20, sa_type=ARRAY(Text))
    due_at: datetime | None = Field(default=None, sa_type=Timestamp)
    timezone: str = "UTC"
    order: int = 0


class TodoRead(TodoCreate):
    id: UUID
    completed: bool
    recurrence: str | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    next_id: UUID | None
    version: int


class Todo(TodoCreate, table=True):
    user_id: str = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    title_key: str | None = Field(default=None, sa_column=Column(Text, Computed("lower(title)", persisted=True)))
    completed: bool = False
    recurrence: str | None = None
    completed_at: datetime | None = Field(default=None, sa_type=Timestamp)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=Timestamp)
    updated_at: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=Timestamp)
    deleted_at: datetime | None = Field(default=None, sa_type=Timestamp)
    next_id: UUID | None = None
    version: int = Field(default=1, sa_type=BigInteger)


engine = create_async_engine(Settings().database_url, pool_size=10, max_overflow=0)
new_session = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
app = FastAPI()


async def open_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(open_session)]
UserDep = Annotated[str, Header(alias="X-User-Id")]


@app.get("/v1/todos", response_model=list[TodoRead])
async def list_todos(session: SessionDep, user: UserDep, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[Todo]:
    statement = (
        select(Todo)
        .where(Todo.user_id == user, col(Todo.deleted_at).is_(None))
        .order_by(col(Todo.created_at).desc(), col(Todo.id).desc())
        .limit(limit)
    )
    return list((await session.exec(statement)).all())


@app.post("/v1/todos", response_model=TodoRead, status_code=201)
async def create_todo(session: SessionDep, user: UserDep, given: TodoCreate) -> Todo:
    todo = Todo(**given.model_dump(), user_id=user)
    session.add(todo)
    await session.commit()
    return todo
