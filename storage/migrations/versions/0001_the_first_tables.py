"""The first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_prefix", sa.String(), nullable=False),
        sa.Column(
            "created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("projects_pkey")),
        sa.UniqueConstraint("key_prefix", name=op.f("projects_key_prefix_key")),
        sa.UniqueConstraint("name", name=op.f("projects_name_key")),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("shown_prefix", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("keys_project_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("keys_pkey")),
        sa.UniqueConstraint("secret_sha256", name=op.f("keys_secret_sha256_key")),
    )
    op.create_index("keys_project_id_idx", "keys", ["project_id"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=True),
        sa.Column("filename", sa.String(), nullable=True),
        sa.Column("ref", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.Column("max_bytes", sa.BigInteger(), nullable=True),
        sa.Column("file_id", sa.String(), nullable=False),
        sa.Column("media_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("woken", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column(
            "created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'complete', 'failed', 'cancelled')",
            name=op.f("tasks_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("tasks_project_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("tasks_pkey")),
        sa.UniqueConstraint("file_id", name=op.f("tasks_file_id_key")),
    )
    op.create_index(
        "tasks_lease_idx",
        "tasks",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("status = 'processing'"),
    )
    op.create_index(
        "tasks_pending_idx",
        "tasks",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("tasks_project_id_idx", "tasks", ["project_id", "id"], unique=False)
    op.create_index(
        "tasks_project_status_idx", "tasks", ["project_id", "status", "id"], unique=False
    )
    op.create_index(
        "tasks_ref_idx",
        "tasks",
        ["project_id", "ref"],
        unique=False,
        postgresql_where=sa.text("ref IS NOT NULL"),
    )
    op.create_table(
        "attempts",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column(
            "started", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("transferred_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("attempts_task_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "number", name=op.f("attempts_pkey")),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("media_id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=True),
        sa.Column("filename", sa.String(), nullable=True),
        sa.Column("ref", sa.String(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_name", sa.String(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("filesize_bytes", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("media", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("files_project_id_fkey")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("files_task_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("files_pkey")),
        sa.UniqueConstraint("object_key", name=op.f("files_object_key_key")),
        sa.UniqueConstraint("task_id", name=op.f("files_task_id_key")),
    )
    op.create_index("files_project_id_idx", "files", ["project_id", "id"], unique=False)
    op.create_index(
        "files_ref_idx",
        "files",
        ["project_id", "ref"],
        unique=False,
        postgresql_where=sa.text("ref IS NOT NULL"),
    )
    op.create_table(
        "names",
        sa.Column("object_key", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("names_project_id_fkey")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("names_task_id_fkey")),
        sa.PrimaryKeyConstraint("object_key", name=op.f("names_pkey")),
    )
    op.create_index("names_task_id_idx", "names", ["task_id"], unique=False)


def downgrade() -> None:
    op.drop_index("names_task_id_idx", table_name="names")
    op.drop_table("names")
    op.drop_index("files_ref_idx", table_name="files", postgresql_where=sa.text("ref IS NOT NULL"))
    op.drop_index("files_project_id_idx", table_name="files")
    op.drop_table("files")
    op.drop_table("attempts")
    op.drop_index("tasks_ref_idx", table_name="tasks", postgresql_where=sa.text("ref IS NOT NULL"))
    op.drop_index("tasks_project_status_idx", table_name="tasks")
    op.drop_index("tasks_project_id_idx", table_name="tasks")
    op.drop_index(
        "tasks_pending_idx", table_name="tasks", postgresql_where=sa.text("status = 'pending'")
    )
    op.drop_index(
        "tasks_lease_idx", table_name="tasks", postgresql_where=sa.text("status = 'processing'")
    )
    op.drop_table("tasks")
    op.drop_index("keys_project_id_idx", table_name="keys")
    op.drop_table("keys")
    op.drop_table("projects")
