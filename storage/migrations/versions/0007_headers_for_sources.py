"""Headers that are sent to a task's source, sealed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("sealed_headers", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("tasks", "sealed_headers")
