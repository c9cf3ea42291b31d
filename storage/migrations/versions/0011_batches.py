"""Batches, what ended of them, and the rows that became no tasks"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_READY = sa.text("status = 'pending' AND next_attempt_at IS NULL AND woken IS NULL")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("batch_id", sa.String(), nullable=True))
    op.add_column("tasks", sa.Column("batch_line", sa.Integer(), nullable=True))
    # The new one first: no query is without an index, and who makes a task waits meanwhile.
    op.create_index(
        "tasks_ready_batch_idx",
        "tasks",
        [
            sa.text("(- priority)"),
            "project_id",
            sa.text("coalesce(batch_id, '')"),
            "source_host",
            "url_expires",
            "id",
        ],
        postgresql_where=_READY,
    )
    op.drop_index("tasks_ready_idx", table_name="tasks")
    op.execute("ALTER INDEX tasks_ready_batch_idx RENAME TO tasks_ready_idx")
    op.create_index(
        "tasks_batch_idx",
        "tasks",
        ["batch_id", "id"],
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_index(
        "tasks_batch_status_idx",
        "tasks",
        ["batch_id", "status", "id"],
        postgresql_where=sa.text("batch_id IS NOT NULL AND status <> 'pending'"),
    )
    _create_batches()
    op.create_table(
        "batch_tallies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("batch_id", sa.String(), nullable=False),
        _count("complete", sa.SmallInteger()),
        _count("failed", sa.SmallInteger()),
        _count("cancelled", sa.SmallInteger()),
        _count("stored_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="batch_tallies_pkey"),
    )
    op.create_index("batch_tallies_batch_id_idx", "batch_tallies", ["batch_id"])
    op.create_table(
        "batch_rejects",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("error", JSONB(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name="batch_rejects_batch_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("batch_id", "line", name="batch_rejects_pkey"),
    )


def downgrade() -> None:
    for table in ("batch_rejects", "batch_tallies", "batches"):
        op.drop_table(table)
    for name in ("tasks_batch_status_idx", "tasks_batch_idx", "tasks_ready_idx"):
        op.drop_index(name, table_name="tasks")
    op.create_index(
        "tasks_ready_idx",
        "tasks",
        [sa.text("(- priority)"), "project_id", "source_host", "url_expires", "id"],
        postgresql_where=_READY,
    )
    for name in ("batch_line", "batch_id"):
        op.drop_column("tasks", name)


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="processing", nullable=False),
        sa.Column("retry_after", sa.String(), nullable=True),
        sa.Column("ref", sa.String(), nullable=True),
        sa.Column("metadata", JSONB(none_as_null=True), nullable=True),
        sa.Column("webhook_url", sa.String(), nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        _count("complete", sa.Integer()),
        _count("failed", sa.Integer()),
        _count("cancelled", sa.Integer()),
        _count("stored_bytes", sa.BigInteger()),
        _count("tasks_per_s", sa.Double()),
        _count("bytes_per_s", sa.Double()),
        _now("counted"),
        sa.Column("request_id", sa.String(), nullable=False),
        _now("created"),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        _now("updated"),
        sa.CheckConstraint(
            "status IN ('processing', 'paused', 'complete', 'cancelled')",
            name="batches_status_check",
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="batches_project_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="batches_pkey"),
    )
    op.create_index("batches_project_id_idx", "batches", ["project_id", "id"])
    for name, columns, condition in (
        ("ref", ["project_id", "ref"], "ref IS NOT NULL"),
        ("open", ["id"], "finished IS NULL"),
    ):
        op.create_index(
            f"batches_{name}_idx", "batches", columns, postgresql_where=sa.text(condition)
        )


def _count(
    name: str, kind: sa.SmallInteger | sa.Integer | sa.BigInteger | sa.Double[float]
) -> sa.Column[object]:
    return sa.Column(name, kind, server_default=sa.text("0"), nullable=False)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )
