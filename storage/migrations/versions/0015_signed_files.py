"""Files that are read by signed URLs alone"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("tasks", "files"):
        op.add_column(
            table, sa.Column("access", sa.String, nullable=False, server_default="public")
        )


def downgrade() -> None:
    for table in ("files", "tasks"):
        op.drop_column(table, "access")
