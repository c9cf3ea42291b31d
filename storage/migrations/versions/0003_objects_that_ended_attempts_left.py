"""Which ended tasks may have left an object in the bucket"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tasks",
        sa.Column("left_object", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(
        "tasks_left_object_idx",
        "tasks",
        ["finished"],
        postgresql_where=sa.text("left_object AND finished IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("tasks_left_object_idx", table_name="tasks")
    op.drop_column("tasks", "left_object")
