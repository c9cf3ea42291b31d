"""The dispatch window, retries, and checkpoints of uploads"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# The host of a URL that parse_source_url has normalised, without brackets and port.
_HOST = r"lower(trim(both '[]' from substring(url from '^[a-z]+://(\[[^]]*\]|[^:/?#]*)')))"


def upgrade() -> None:
    for column in (
        sa.Column("priority", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("source_host", sa.String(), nullable=True),
        sa.Column("url_expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lost", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("outage_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("tasks", column)
    op.execute(f"UPDATE tasks SET tries = attempt, source_host = coalesce({_HOST}, '')")  # noqa: S608
    op.alter_column("tasks", "source_host", nullable=False)
    op.drop_index("tasks_pending_idx", table_name="tasks")
    op.create_index(
        "tasks_ready_idx",
        "tasks",
        [sa.text("(- priority)"), "project_id", "source_host", "url_expires", "id"],
        postgresql_where=sa.text(
            "status = 'pending' AND next_attempt_at IS NULL AND woken IS NULL"
        ),
    )
    op.create_index(
        "tasks_woken_idx",
        "tasks",
        ["woken"],
        postgresql_where=sa.text("status = 'pending' AND woken IS NOT NULL"),
    )
    op.create_index(
        "tasks_waiting_idx",
        "tasks",
        ["next_attempt_at"],
        postgresql_where=sa.text("status = 'pending' AND next_attempt_at IS NOT NULL"),
    )
    op.create_index(
        "tasks_host_idx",
        "tasks",
        ["source_host"],
        postgresql_where=sa.text("status = 'processing'"),
    )
    op.create_table(
        "uploads",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("begun_by", sa.Integer(), nullable=False),
        sa.Column("adopted_by", sa.Integer(), nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("upload_id", sa.String(), nullable=True),
        sa.Column("part_bytes", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("etag", sa.String(), nullable=True),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("uploads_task_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "begun_by", name=op.f("uploads_pkey")),
    )
    op.create_index("uploads_upload_id_idx", "uploads", ["upload_id"])
    op.create_index("uploads_object_key_idx", "uploads", ["object_key"])
    op.create_table(
        "parts",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("begun_by", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("etag", sa.String(), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=True),
        sa.Column("sent_by", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id", "begun_by"],
            ["uploads.task_id", "uploads.begun_by"],
            name="parts_upload_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("task_id", "begun_by", "number", name=op.f("parts_pkey")),
    )


def downgrade() -> None:
    op.drop_table("parts")
    op.drop_table("uploads")
    for index in ("tasks_host_idx", "tasks_waiting_idx", "tasks_woken_idx", "tasks_ready_idx"):
        op.drop_index(index, table_name="tasks")
    op.create_index(
        "tasks_pending_idx", "tasks", ["id"], postgresql_where=sa.text("status = 'pending'")
    )
    for column in (
        "next_attempt_at",
        "outage_since",
        "lost",
        "tries",
        "url_expires",
        "source_host",
        "priority",
    ):
        op.drop_column("tasks", column)
