"""Files are found by their media"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("files_media_id_idx", "files", ["media_id"])


def downgrade() -> None:
    op.drop_index("files_media_id_idx", table_name="files")
