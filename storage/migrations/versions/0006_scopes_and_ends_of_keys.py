"""What keys may do, when they were used last, and when they end"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Keys that are there keep what they could do.
    op.add_column(
        "keys",
        sa.Column(
            "scopes", ARRAY(sa.String()), server_default=sa.text("'{read,write}'"), nullable=False
        ),
    )
    op.add_column("keys", sa.Column("last_used", sa.DateTime(timezone=True), nullable=True))
    op.add_column("keys", sa.Column("expires", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    # Without these columns a key that has ended, or may only read, would be a whole one.
    op.execute(
        "UPDATE keys SET revoked = now() WHERE revoked IS NULL AND "
        "(expires <= now() OR NOT scopes @> '{read,write}')"
    )
    op.drop_column("keys", "expires")
    op.drop_column("keys", "last_used")
    op.drop_column("keys", "scopes")
