"""Alembic's entry: connects, takes a lock so that only one process migrates, runs what is due."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool, text

from storage.records import batch_tables  # noqa: F401 - puts its tables into the metadata
from storage.records.tables import metadata

# Any number will do; it must only be the same in every process.
_MIGRATION_LOCK = 4_726_105_932

engine = create_engine(
    context.config.attributes["url"], poolclass=pool.NullPool, connect_args={"connect_timeout": 5}
)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        context.run_migrations()
    connection.commit()
engine.dispose()
