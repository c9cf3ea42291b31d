"""The tables of batches; they stand beside those of ``tables``, in the same metadata."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from ingest.batches import BatchStatus
from storage.records.tables import metadata

_Json = JSONB(none_as_null=True)


def _count(name: str) -> Column[object]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    Column("project_id", String, ForeignKey("projects.id"), nullable=False),
    Column("status", String, nullable=False, server_default=BatchStatus.PROCESSING.value),
    # While those that failed are being retried: the last of them, by id, that was.
    Column("retry_after", String),
    Column("ref", String),
    Column("metadata", _Json),
    Column("webhook_url", String),
    # How many of its tasks may be in flight; null means any number.
    Column("concurrency", Integer),
    # Of its list: rows that became tasks, and rows that were refused.
    Column("total", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    # Its tasks that have ended, as far as `batch_tallies` are added up; the others are open.
    _count("complete"),
    _count("failed"),
    _count("cancelled"),
    Column("stored_bytes", BigInteger, nullable=False, server_default=text("0")),
    # Means of the last minute, when they were added up.
    Column("tasks_per_s", Double, nullable=False, server_default=text("0")),
    Column("bytes_per_s", Double, nullable=False, server_default=text("0")),
    Column("counted", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("request_id", String, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # When the last of its tasks had ended.
    Column("finished", DateTime(timezone=True)),
    Column("updated", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint(
        "status IN ({})".format(", ".join(f"'{status}'" for status in BatchStatus)), name="status"
    ),
    Index("batches_project_id_idx", "project_id", "id"),
    Index("batches_ref_idx", "project_id", "ref", postgresql_where=text("ref IS NOT NULL")),
    Index("batches_open_idx", "id", postgresql_where=text("finished IS NULL")),
)

# What ended since its batch was last added up. Rows of their own: tasks that end at once would
# wait for each other at the batch's.
batch_tallies = Table(
    "batch_tallies",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    # No foreign key, as in `tasks`.
    Column("batch_id", String, nullable=False),
    # Fewer than none: tasks that were reopened.
    Column("complete", SmallInteger, nullable=False, server_default=text("0")),
    Column("failed", SmallInteger, nullable=False, server_default=text("0")),
    Column("cancelled", SmallInteger, nullable=False, server_default=text("0")),
    Column("stored_bytes", BigInteger, nullable=False, server_default=text("0")),
    Index("batch_tallies_batch_id_idx", "batch_id"),
)

# Rows of a batch's list that became no tasks.
batch_rejects = Table(
    "batch_rejects",
    metadata,
    Column("batch_id", String, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True),
    # As it was written, cut short; null where the row could not be read.
    Column("url", String),
    Column("error", _Json, nullable=False),
)
