"""The tables of batches; they stand beside those of ``tables``, in the same metadata."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
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
    # Where its list is, without the query; null where it was sent.
    Column("source_url", String),
    # It makes nothing: its counts are of sources that were asked.
    Column("dry_run", Boolean, nullable=False, server_default=text("false")),
    # Why its list cannot be read, at the last try or for good. Not `error`: claims of the version
    # before read that of `tasks` beside this table.
    Column("list_error", _Json),
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

# What a worker has to do for a batch before it goes on: read its list, ask its sources. The row is
# gone once that is done, and the secrets with it.
batch_jobs = Table(
    "batch_jobs",
    metadata,
    Column("batch_id", String, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", String, nullable=False),
    Column("kind", String, nullable=False),
    # Of a list to be read: where it is, how it is written, and what was asked for with it.
    Column("url", String),
    Column("form", String),
    Column("options", _Json),
    # For the list's source, and those of `defaults` for its items.
    Column("sealed_headers", LargeBinary),
    Column("sealed_item_headers", LargeBinary),
    # The fencing token of who works at it, and how many of them are charged.
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("worker", String),
    # By the database's clock; null while nobody works at it.
    Column("lease_until", DateTime(timezone=True)),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("created", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("batch_jobs_due_idx", "next_attempt_at"),
)

# Rows of a dry run whose sources are asked, and what they answered.
batch_sources = Table(
    "batch_sources",
    metadata,
    Column("batch_id", String, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("url", String, nullable=False),
    Column("source_host", String, nullable=False),
    Column("max_bytes", BigInteger),
    Column("sealed_headers", LargeBinary),
    Column("status", String, nullable=False, server_default=text("'pending'")),
    # What the source said, or was seen to be.
    Column("type", String),
    Column("size_bytes", BigInteger),
    Column("etag", String),
    Column("last_modified", String),
    Column("ranged", Boolean),
    Column("error", _Json),
)
