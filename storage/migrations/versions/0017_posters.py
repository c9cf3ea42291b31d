"""Posters: a JPEG beside a file, where it was asked for"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tasks", sa.Column("poster", sa.Boolean, nullable=False, server_default=sa.text("false"))
    )
    op.add_column("files", sa.Column("poster_key", sa.String))


def downgrade() -> None:
    op.drop_column("files", "poster_key")
    op.drop_column("tasks", "poster")
