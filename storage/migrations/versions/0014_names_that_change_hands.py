"""Names that change hands, and files that are known again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tasks",
        sa.Column("overwrites", sa.Boolean, nullable=False, server_default=sa.text("false")),
    )
    op.add_column("tasks", sa.Column("dedupe", sa.String, nullable=False, server_default="none"))
    op.add_column("tasks", sa.Column("duplicate_of", sa.String))
    op.add_column("files", sa.Column("lies_at", sa.String))
    op.add_column("files", sa.Column("source_sha256", sa.String))
    op.add_column("files", sa.Column("source_etag", sa.String))
    op.create_index("files_sha256_idx", "files", ["sha256", "project_id"])
    op.create_index(
        "files_source_idx",
        "files",
        ["source_sha256", "project_id"],
        postgresql_where=sa.text("source_etag IS NOT NULL"),
    )
    op.add_column("names", sa.Column("next_task_id", sa.String))
    op.add_column(
        "names", sa.Column("leaves", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.add_column("names", sa.Column("due_at", sa.DateTime(timezone=True)))
    op.add_column("names", sa.Column("moving_until", sa.DateTime(timezone=True)))
    op.create_index(
        "names_next_task_id_idx",
        "names",
        ["next_task_id"],
        postgresql_where=sa.text("next_task_id IS NOT NULL"),
    )
    op.create_index("names_due_at_idx", "names", ["due_at"], postgresql_where=sa.text("leaves"))


def downgrade() -> None:
    # Without these columns nobody would know where the objects of such files lie.
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM names WHERE leaves OR next_task_id IS NOT NULL)
                OR EXISTS (SELECT FROM files WHERE lies_at IS NOT NULL) THEN
                RAISE EXCEPTION 'Files are being moved or overwritten. Let those tasks end first.';
            END IF;
        END $$
    """)
    op.drop_index("names_due_at_idx", table_name="names")
    op.drop_index("names_next_task_id_idx", table_name="names")
    for column in ("moving_until", "due_at", "leaves", "next_task_id"):
        op.drop_column("names", column)
    op.drop_index("files_source_idx", table_name="files")
    op.drop_index("files_sha256_idx", table_name="files")
    for column in ("source_etag", "source_sha256", "lies_at"):
        op.drop_column("files", column)
    for column in ("duplicate_of", "dedupe", "overwrites"):
        op.drop_column("tasks", column)
