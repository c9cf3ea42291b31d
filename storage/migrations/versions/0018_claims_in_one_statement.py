"""Claims in one statement: what is counted for one is counted under a lock, and anew"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# A statement sees nothing that was committed while it waited; what a volatile function asks is a
# statement of its own, and does. The numbers are the namespaces of advisory locks in ``claims``. $1
# and not a name, which a column could have one day.
_COUNT = """
    CREATE FUNCTION {name}(text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock({namespace}, hashtext($1));
        RETURN (SELECT count(*) FROM tasks WHERE status = 'processing' AND {condition});
    END $$
"""


def upgrade() -> None:
    for name, namespace, condition in (
        ("count_running_from_host", 1, "source_host = $1"),
        (
            "count_running_suspects",
            2,
            "worker = $1 AND lost > 0 AND lost >= least(2, max_attempts - 1)",
        ),
        ("count_running_of_project", 4, "project_id = $1"),
    ):
        op.execute(_COUNT.format(name=name, namespace=namespace, condition=condition))


def downgrade() -> None:
    for name in ("count_running_of_project", "count_running_suspects", "count_running_from_host"):
        op.execute(f"DROP FUNCTION {name}(text)")
