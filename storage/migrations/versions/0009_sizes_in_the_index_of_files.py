"""What a project stores is read from an index alone"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The new one first: no query is without an index, and who completes a file waits meanwhile.
    op.create_index(
        "files_usage_idx",
        "files",
        ["project_id", "id"],
        postgresql_include=["filesize_bytes"],
    )
    op.drop_index("files_project_id_idx", table_name="files")


def downgrade() -> None:
    op.create_index("files_project_id_idx", "files", ["project_id", "id"])
    op.drop_index("files_usage_idx", table_name="files")
