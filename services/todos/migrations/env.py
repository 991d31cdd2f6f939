"""Runs the migrations on the connection that `todos migrate` has opened and locked."""

from alembic import context
from sqlmodel import SQLModel

import todos.schema.models  # noqa: F401 - it fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
