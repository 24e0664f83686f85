"""Alembic's entry: migrate over the connection that `upgrade.py` hands in."""

from alembic import context
from sqlmodel import SQLModel

import storage.database.tables  # noqa: F401 - registers the tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
