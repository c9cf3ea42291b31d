"""The CRC32C of each finished part, which completing an upload names"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("parts", sa.Column("crc32c", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("parts", "crc32c")
