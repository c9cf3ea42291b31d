"""The tables, as SQLAlchemy sees them. Alembic's migrations make them; a test compares the two.

Ids are ULIDs with a prefix, so ``ORDER BY id`` is the order of creation and needs no other index.
Names are reserved in ``names``: its primary key is what keeps two tasks from racing for one object.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    func,
    literal,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from ingest.states import Status

# Written into SQL, not bound: a plan for any status could not use the partial indexes.
PENDING = literal(Status.PENDING.value, literal_execute=True)
PROCESSING = literal(Status.PROCESSING.value, literal_execute=True)

# None is SQL's NULL, not the JSON value null: "IS NULL" must mean what it says.
_Json = JSONB(none_as_null=True)

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _created() -> Column[object]:
    return Column("created", DateTime(timezone=True), nullable=False, server_default=func.now())


def _updated() -> Column[object]:
    return Column("updated", DateTime(timezone=True), nullable=False, server_default=func.now())


def _project() -> Column[object]:
    return Column("project_id", String, ForeignKey("projects.id"), nullable=False)


projects = Table(
    "projects",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("key_prefix", String, nullable=False, unique=True),
    # Null means any number.
    Column("max_running", Integer),
    Column("max_stored_bytes", BigInteger),
    # Of its files; kept only where there is a limit, since it is one row for all of them.
    Column("stored_bytes", BigInteger, nullable=False, server_default=text("0")),
    # What signs for the webhook_url of tasks, made when it is first needed; as for an endpoint.
    Column("sealed_webhook_secret", LargeBinary),
    Column("sealed_old_webhook_secret", LargeBinary),
    Column("old_webhook_secret_until", DateTime(timezone=True)),
    _created(),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    _project(),
    Column("name", String, nullable=False),
    Column("shown_prefix", String, nullable=False),
    Column("secret_sha256", LargeBinary(32), nullable=False, unique=True),
    # Of ingest.access.Scope.
    Column("scopes", ARRAY(String), nullable=False, server_default=text("'{read,write}'")),
    _created(),
    # To a minute: a write for each request would be most of what a request costs.
    Column("last_used", DateTime(timezone=True)),
    Column("expires", DateTime(timezone=True)),
    Column("revoked", DateTime(timezone=True)),
    Index("keys_project_id_idx", "project_id"),
)

# Requests that say by which key they are to be known when they are sent again.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_id", String, ForeignKey("projects.id"), primary_key=True),
    Column("key", String, primary_key=True),
    # SHA-256 of what was asked.
    Column("fingerprint", LargeBinary(32), nullable=False),
    # Who answers it, and until when it may take.
    Column("request_id", String, nullable=False),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    # The id of what it made, written by the transaction that made it.
    Column("made", String),
    # Of the answer, once there is one.
    Column("status", SmallInteger),
    Column("headers", _Json),
    Column("body", LargeBinary),
    Column("is_sealed", Boolean, nullable=False, server_default=text("false")),
    _created(),
    Index("idempotency_keys_created_idx", "created"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String, primary_key=True),
    _project(),
    Column("kind", String, nullable=False),
    Column("status", String, nullable=False, server_default=Status.PENDING.value),
    Column("url", String, nullable=False),
    Column("folder", String),
    Column("filename", String),
    Column("ref", String),
    Column("metadata", _Json),
    Column("checksum", String),
    Column("max_bytes", BigInteger),
    # What is sent to the source besides, until the task is complete (storage.sealing).
    Column("sealed_headers", LargeBinary),
    # Who is told how the task ended.
    Column("webhook_url", String),
    # No foreign key: it would be checked for each of a million rows. Batches are never deleted.
    Column("batch_id", String),
    # Where in the batch's list it stands, from 1.
    Column("batch_line", Integer),
    Column("file_id", String, nullable=False, unique=True),
    Column("media_id", String, nullable=False),
    # Whether its file takes the place of the one that has its name.
    Column("overwrites", Boolean, nullable=False, server_default=text("false")),
    # Of ingest.model.Dedupe.
    Column("dedupe", String, nullable=False, server_default="none"),
    # Of its file: ingest.model.FileAccess.
    Column("access", String, nullable=False, server_default="public"),
    # Whether a poster of its file is stored beside it.
    Column("poster", Boolean, nullable=False, server_default=text("false")),
    # The file that was there already, of a task that is complete without one of its own.
    Column("duplicate_of", String),
    # The higher the sooner.
    Column("priority", SmallInteger, nullable=False, server_default=text("0")),
    Column("source_host", String, nullable=False),
    # When a signed URL ends.
    Column("url_expires", DateTime(timezone=True)),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    # The attempts that count against max_attempts: not those that an outage of ours ended.
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False),
    # Leases lost in a row without a new part, and since when the object store is missing.
    Column("lost", Integer, nullable=False, server_default=text("0")),
    Column("outage_since", DateTime(timezone=True)),
    # Pending tasks are not to be run before this; null means now.
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("worker", String),
    Column("lease_until", DateTime(timezone=True)),
    # Whether an attempt that has ended may have left an object in the bucket.
    Column("left_object", Boolean, nullable=False, server_default=text("false")),
    # When a wake-up was last sent; null means never.
    Column("woken", DateTime(timezone=True)),
    Column("error", _Json),
    Column("request_id", String, nullable=False),
    _created(),
    Column("started", DateTime(timezone=True)),
    Column("finished", DateTime(timezone=True)),
    _updated(),
    CheckConstraint(
        "status IN ({})".format(", ".join(f"'{status}'" for status in Status)), name="status"
    ),
    Index("tasks_project_id_idx", "project_id", "id"),
    Index("tasks_project_status_idx", "project_id", "status", "id"),
    Index("tasks_ref_idx", "project_id", "ref", postgresql_where=text("ref IS NOT NULL")),
    # What may be woken, in groups that the dispatcher can skip along.
    Index(
        "tasks_ready_idx",
        text("(- priority)"),
        "project_id",
        text("coalesce(batch_id, '')"),
        "source_host",
        "url_expires",
        "id",
        postgresql_where=text("status = 'pending' AND next_attempt_at IS NULL AND woken IS NULL"),
    ),
    Index(
        "tasks_woken_idx",
        "woken",
        postgresql_where=text("status = 'pending' AND woken IS NOT NULL"),
    ),
    Index(
        "tasks_waiting_idx",
        "next_attempt_at",
        postgresql_where=text("status = 'pending' AND next_attempt_at IS NOT NULL"),
    ),
    Index("tasks_lease_idx", "lease_until", postgresql_where=text("status = 'processing'")),
    Index("tasks_host_idx", "source_host", postgresql_where=text("status = 'processing'")),
    Index("tasks_batch_idx", "batch_id", "id", postgresql_where=text("batch_id IS NOT NULL")),
    # What is pending is most of a batch that is being made, and is found by the index above.
    Index(
        "tasks_batch_status_idx",
        "batch_id",
        "status",
        "id",
        postgresql_where=text("batch_id IS NOT NULL AND status <> 'pending'"),
    ),
    Index(
        "tasks_left_object_idx",
        "finished",
        postgresql_where=text("left_object AND finished IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("task_id", String, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("worker", String, nullable=False),
    Column("started", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished", DateTime(timezone=True)),
    Column("transferred_bytes", BigInteger),
    Column("error", _Json),
)

files = Table(
    "files",
    metadata,
    Column("id", String, primary_key=True),
    _project(),
    Column("media_id", String, nullable=False),
    Column("task_id", String, ForeignKey("tasks.id"), nullable=False, unique=True),
    # What it is called; and where its object lies while that is not there yet.
    Column("object_key", String, nullable=False, unique=True),
    Column("lies_at", String),
    # Where its poster lies, if it has one.
    Column("poster_key", String),
    Column("folder", String),
    Column("filename", String),
    Column("ref", String),
    Column("metadata", _Json),
    Column("source", String, nullable=False),
    Column("source_name", String),
    # What an unchanged source is known by: SHA-256 of its URL, and its strong validator if it has
    # one.
    Column("source_sha256", String),
    Column("source_etag", String),
    # Of ingest.model.FileAccess.
    Column("access", String, nullable=False, server_default="public"),
    # Null where the store copied what it tells no SHA-256 of.
    Column("sha256", String),
    Column("filesize_bytes", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("type", String, nullable=False),
    Column("media", _Json, nullable=False),
    _created(),
    _updated(),
    # With the sizes, so that what a project stores is added up from the index alone.
    Index("files_usage_idx", "project_id", "id", postgresql_include=["filesize_bytes"]),
    Index("files_ref_idx", "project_id", "ref", postgresql_where=text("ref IS NOT NULL")),
    Index("files_media_id_idx", "media_id"),
    Index("files_sha256_idx", "sha256", "project_id"),
    Index(
        "files_source_idx",
        "source_sha256",
        "project_id",
        postgresql_where=text("source_etag IS NOT NULL"),
    ),
)

names = Table(
    "names",
    metadata,
    Column("object_key", String, primary_key=True),
    _project(),
    Column("task_id", String, ForeignKey("tasks.id"), nullable=False),
    # Who takes the name over from the file that has it. No foreign key: it would be checked for
    # each of a million rows, which have none.
    Column("next_task_id", String),
    # The file is called otherwise, or is gone; only its object may be here still. From when on
    # somebody is to look after that, and until when somebody does.
    Column("leaves", Boolean, nullable=False, server_default=text("false")),
    Column("due_at", DateTime(timezone=True)),
    Column("moving_until", DateTime(timezone=True)),
    Index("names_task_id_idx", "task_id"),
    Index(
        "names_next_task_id_idx",
        "next_task_id",
        postgresql_where=text("next_task_id IS NOT NULL"),
    ),
    Index("names_due_at_idx", "due_at", postgresql_where=text("leaves")),
)

# The uploads that tasks have begun: what a later attempt may go on from, and what is to be aborted.
uploads = Table(
    "uploads",
    metadata,
    Column("task_id", String, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    # The attempt that began it, and the one that may write to it now.
    Column("begun_by", Integer, primary_key=True),
    Column("adopted_by", Integer, nullable=False),
    Column("object_key", String, nullable=False),
    # Null from before the store is asked to begin until it has answered.
    Column("upload_id", String),
    Column("part_bytes", BigInteger, nullable=False),
    # With both of these, a later attempt can go on.
    Column("size_bytes", BigInteger),
    Column("etag", String),
    # The first bytes of the file: what it is told by.
    Column("head", LargeBinary, nullable=False),
    _created(),
    Index("uploads_upload_id_idx", "upload_id"),
    Index("uploads_object_key_idx", "object_key"),
)

parts = Table(
    "parts",
    metadata,
    Column("task_id", String, primary_key=True),
    Column("begun_by", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("etag", String, nullable=False),
    # The digests of the file up to the end of this part.
    Column("digests", LargeBinary),
    # Of the part; completing an upload names it.
    Column("crc32c", BigInteger),
    # The attempt that sent it.
    Column("sent_by", Integer, nullable=False),
    ForeignKeyConstraint(
        ["task_id", "begun_by"],
        ["uploads.task_id", "uploads.begun_by"],
        name="parts_upload_fkey",
        ondelete="CASCADE",
    ),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String, primary_key=True),
    _project(),
    Column("url", String, nullable=False),
    # Of ingest.events.
    Column("topics", ARRAY(String), nullable=False),
    Column("description", String),
    Column("metadata", _Json),
    Column("status", String, nullable=False, server_default="enabled"),
    # Why it was disabled; null while it is not.
    Column("disabled_for", String),
    # The secret that signs, and the one before, which signs as well until then (storage.sealing).
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("sealed_old_secret", LargeBinary),
    Column("old_secret_until", DateTime(timezone=True)),
    _created(),
    _updated(),
    CheckConstraint("status IN ('enabled', 'disabled')", name="status"),
    Index("webhook_endpoints_project_id_idx", "project_id", "id"),
)

events = Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),
    # No keys: each task has some of these, and what they tell of may be gone before them.
    Column("project_id", String, nullable=False),
    # Of ingest.events.
    Column("type", String, nullable=False),
    Column("subject_id", String, nullable=False),
    # The rows as they were, without secrets (storage.records.outbox).
    Column("snapshot", _Json, nullable=False),
    _created(),
    Index("events_project_id_idx", "project_id", "id"),
    Index("events_subject_id_idx", "subject_id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    _project(),
    Column("event_id", String, ForeignKey("events.id", ondelete="CASCADE"), nullable=False),
    Column("event_type", String, nullable=False),
    # One of them: an endpoint, or the webhook_url of a task.
    # No foreign key: what completes a task must neither wait for an endpoint's end nor fail by it.
    Column("endpoint_id", String),
    Column("url", String),
    # What is held back and counted together: the endpoint's id, or project and host of the URL.
    Column("lane", String, nullable=False),
    Column("status", String, nullable=False, server_default="pending"),
    # The fencing token; and how many of them count since somebody last asked for it.
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # When the wake-up of the attempt that is due or runs was sent; null means never.
    Column("woken", DateTime(timezone=True)),
    Column("lease_until", DateTime(timezone=True)),
    _created(),
    Column("finished", DateTime(timezone=True)),
    CheckConstraint("status IN ('pending', 'sending', 'delivered', 'failed')", name="status"),
    CheckConstraint("(endpoint_id IS NULL) <> (url IS NULL)", name="receiver"),
    Index("deliveries_project_id_idx", "project_id", "id"),
    Index("deliveries_event_id_idx", "event_id"),
    Index("deliveries_endpoint_id_idx", "endpoint_id", "id"),
    Index(
        "deliveries_due_idx",
        "lane",
        "next_attempt_at",
        "id",
        postgresql_where=text("status = 'pending' AND woken IS NULL"),
    ),
    Index("deliveries_flying_idx", "lane", postgresql_where=text("woken IS NOT NULL")),
    Index("deliveries_lease_idx", "lease_until", postgresql_where=text("status = 'sending'")),
    Index("deliveries_failed_idx", "endpoint_id", "id", postgresql_where=text("status = 'failed'")),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column(
        "delivery_id", String, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("number", Integer, primary_key=True),
    Column("sender", String, nullable=False),
    Column("started", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("duration_ms", Integer),
    # Of the answer; null where there was none.
    Column("http_status", SmallInteger),
    # How it begins, at most 1 kB.
    Column("answer", String),
    Column("error", _Json),
)

# A row only while nothing arrives in a lane.
troubles = Table(
    "troubles",
    metadata,
    Column("lane", String, primary_key=True),
    # In a row.
    Column("failures", Integer, nullable=False),
    Column("failing_since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_failed", DateTime(timezone=True), nullable=False, server_default=func.now()),
    # The lane is left alone until then.
    Column("paused_until", DateTime(timezone=True)),
)
