"""Webhooks: endpoints, events, their deliveries and the attempts of those"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SECRETS = ("sealed_webhook_secret", "sealed_old_webhook_secret")


def upgrade() -> None:
    for name in _SECRETS:
        op.add_column("projects", sa.Column(name, sa.LargeBinary(), nullable=True))
    op.add_column("projects", _moment("old_webhook_secret_until"))
    op.add_column("tasks", sa.Column("webhook_url", sa.String(), nullable=True))
    _create_endpoints()
    op.create_table(
        "events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("snapshot", JSONB(none_as_null=True), nullable=False),
        _now("created"),
        sa.PrimaryKeyConstraint("id", name="events_pkey"),
    )
    op.create_index("events_project_id_idx", "events", ["project_id", "id"])
    op.create_index("events_subject_id_idx", "events", ["subject_id"])
    _create_deliveries()
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        _now("started"),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("error", JSONB(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name="delivery_attempts_delivery_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", "number", name="delivery_attempts_pkey"),
    )
    op.create_table(
        "troubles",
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        _now("failing_since"),
        _now("last_failed"),
        _moment("paused_until"),
        sa.PrimaryKeyConstraint("lane", name="troubles_pkey"),
    )


def downgrade() -> None:
    for table in ("troubles", "delivery_attempts", "deliveries", "events", "webhook_endpoints"):
        op.drop_table(table)
    op.drop_column("tasks", "webhook_url")
    for name in (*_SECRETS, "old_webhook_secret_until"):
        op.drop_column("projects", name)


def _create_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("topics", ARRAY(sa.String()), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("metadata", JSONB(none_as_null=True), nullable=True),
        sa.Column("status", sa.String(), server_default="enabled", nullable=False),
        sa.Column("disabled_for", sa.String(), nullable=True),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_old_secret", sa.LargeBinary(), nullable=True),
        _moment("old_secret_until"),
        _now("created"),
        _now("updated"),
        sa.CheckConstraint(
            "status IN ('enabled', 'disabled')", name="webhook_endpoints_status_check"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="webhook_endpoints_project_id_fkey"
        ),
        sa.PrimaryKeyConstraint("id", name="webhook_endpoints_pkey"),
    )
    op.create_index("webhook_endpoints_project_id_idx", "webhook_endpoints", ["project_id", "id"])


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("endpoint_id", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _now("next_attempt_at"),
        _moment("woken"),
        _moment("lease_until"),
        _now("created"),
        _moment("finished"),
        sa.CheckConstraint(
            "status IN ('pending', 'sending', 'delivered', 'failed')",
            name="deliveries_status_check",
        ),
        sa.CheckConstraint(
            "(endpoint_id IS NULL) <> (url IS NULL)", name="deliveries_receiver_check"
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="deliveries_project_id_fkey"),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name="deliveries_event_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="deliveries_pkey"),
    )
    op.create_index("deliveries_project_id_idx", "deliveries", ["project_id", "id"])
    op.create_index("deliveries_event_id_idx", "deliveries", ["event_id"])
    op.create_index("deliveries_endpoint_id_idx", "deliveries", ["endpoint_id", "id"])
    for name, columns, condition in (
        ("due", ["lane", "next_attempt_at", "id"], "status = 'pending' AND woken IS NULL"),
        ("flying", ["lane"], "woken IS NOT NULL"),
        ("lease", ["lease_until"], "status = 'sending'"),
        ("failed", ["endpoint_id", "id"], "status = 'failed'"),
    ):
        op.create_index(
            f"deliveries_{name}_idx", "deliveries", columns, postgresql_where=sa.text(condition)
        )


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)
