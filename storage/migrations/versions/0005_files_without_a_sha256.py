"""Files that the object store copied itself and tells no SHA-256 of"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("files", "sha256", existing_type=sa.String(), nullable=True)


def downgrade() -> None:
    # An empty text, as no SHA-256 is: what was never known cannot be made up.
    op.execute("UPDATE files SET sha256 = '' WHERE sha256 IS NULL")
    op.alter_column("files", "sha256", existing_type=sa.String(), nullable=False)
