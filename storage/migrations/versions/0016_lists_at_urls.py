"""Lists that are read from URLs, and sources that are asked before anything is made"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BEFORE = "'processing', 'paused', 'complete', 'cancelled'"
_NOW = "'loading', 'processing', 'paused', 'complete', 'failed', 'cancelled'"


def upgrade() -> None:
    op.add_column("batches", sa.Column("source_url", sa.String, nullable=True))
    op.add_column(
        "batches",
        sa.Column("dry_run", sa.Boolean, nullable=False, server_default=sa.text("false")),
    )
    op.add_column("batches", sa.Column("list_error", JSONB(none_as_null=True), nullable=True))
    _set_states(_NOW)
    op.create_table(
        "batch_jobs",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("form", sa.String(), nullable=True),
        sa.Column("options", JSONB(none_as_null=True), nullable=True),
        sa.Column("sealed_headers", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_item_headers", sa.LargeBinary(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        _now("next_attempt_at"),
        _now("created"),
        _batch_key("batch_jobs"),
        sa.PrimaryKeyConstraint("batch_id", name="batch_jobs_pkey"),
    )
    op.create_index("batch_jobs_due_idx", "batch_jobs", ["next_attempt_at"])
    op.create_table(
        "batch_sources",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("source_host", sa.String(), nullable=False),
        sa.Column("max_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sealed_headers", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.String(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("type", sa.String(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("etag", sa.String(), nullable=True),
        sa.Column("last_modified", sa.String(), nullable=True),
        sa.Column("ranged", sa.Boolean(), nullable=True),
        sa.Column("error", JSONB(none_as_null=True), nullable=True),
        _batch_key("batch_sources"),
        sa.PrimaryKeyConstraint("batch_id", "line", name="batch_sources_pkey"),
    )


def downgrade() -> None:
    for table in ("batch_sources", "batch_jobs"):
        op.drop_table(table)
    # What the version before has no words for.
    op.execute("DELETE FROM batches WHERE dry_run OR status IN ('loading', 'failed')")
    _set_states(_BEFORE)
    for column in ("list_error", "dry_run", "source_url"):
        op.drop_column("batches", column)


def _set_states(states: str) -> None:
    # As the naming convention made it of the name it was given.
    name = op.f("batches_batches_status_check_check")
    op.drop_constraint(name, "batches")
    op.create_check_constraint(name, "batches", f"status IN ({states})")


def _batch_key(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["batch_id"], ["batches.id"], name=f"{table}_batch_id_fkey", ondelete="CASCADE"
    )


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )
