"""Wake-ups of pending tasks: who was told, who has to wait.

A pending task is *ready* (may run, nobody was told), *woken* (a message is under way) or *waiting*
(for its next attempt). Whose turn it is stands in ``turns``. Invariants: one dispatcher works at a
time, for the length of its transaction; what is lost is woken again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, Interval, bindparam, text, update

from ingest.batches import BatchStatus
from storage.records.asking import ask_one, write_query
from storage.records.tables import PENDING, tasks

# A namespace of advisory locks, as those in ``claims``.
_DISPATCH_LOCK = 3
READY = "status = 'pending' AND next_attempt_at IS NULL AND woken IS NULL"

# Compiling a plan takes longer than running one of these.
_BEGIN = text(f"""
    SELECT set_config('jit', 'off', true), pg_advisory_xact_lock({_DISPATCH_LOCK}, 0)
""")

# Those that are locked, in a CTE, which is run once: a subquery may be run again and pass its
# limit. As an array, since for rows of unknown number the whole table might be read.
_READY_DUE = text("""
    WITH due AS (
        SELECT id FROM tasks WHERE status = 'pending' AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks SET next_attempt_at = NULL WHERE id = ANY(ARRAY(SELECT id FROM due))
""")
_FORGET_LOST = text("""
    WITH lost AS (
        SELECT id FROM tasks WHERE status = 'pending' AND woken < now() - :resend_after
        ORDER BY woken LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks SET woken = NULL WHERE id = ANY(ARRAY(SELECT id FROM lost))
""").bindparams(bindparam("resend_after", type_=Interval))
WOKEN = "status = 'pending' AND woken IS NOT NULL"
_COUNT_WOKEN = text(f"SELECT count(*) FROM tasks WHERE {WOKEN}")  # noqa: S608 - constants
# A project's tasks of one batch, or those of none, wait their turn together: its lane.
LANE = "coalesce(batch_id, '')"
_AFTER_LANES = "zzzz"
FLYING = f"""
    SELECT project_id, {LANE} AS lane, source_host FROM tasks WHERE status = 'processing'
    UNION ALL SELECT project_id, {LANE}, source_host FROM tasks WHERE {WOKEN}
"""  # noqa: S608 - constants
# Of batches whose tasks may not all begin: none of them, or so many at once.
HELD = f"""
    SELECT id, CASE status WHEN '{BatchStatus.PROCESSING}' THEN concurrency ELSE 0 END AS most
    FROM batches
    WHERE finished IS NULL AND (status <> '{BatchStatus.PROCESSING}' OR concurrency IS NOT NULL)
"""  # noqa: S608 - constants

# The ready tasks of a project, or of a batch, that is full are in nobody's way: they are jumped
# over. Which are full is found out only where there are ready tasks, and for the project that asks
# only if it has a limit.
_MUST_WAIT = write_query(f"""
    WITH RECURSIVE flying AS MATERIALIZED ({FLYING}), full_projects AS MATERIALIZED (
        SELECT id FROM projects LEFT JOIN flying ON project_id = id
        WHERE max_running IS NOT NULL GROUP BY id HAVING count(project_id) >= max_running
    ), full_lanes AS MATERIALIZED (
        SELECT id FROM ({HELD}) AS held LEFT JOIN flying ON lane = id
        GROUP BY id, most HAVING count(lane) >= most
    ), ahead AS (
        (SELECT - priority AS rank, project_id, {LANE} AS lane,
            project_id IN (SELECT id FROM full_projects) AS is_full,
            {LANE} IN (SELECT id FROM full_lanes) AS is_held
         FROM tasks WHERE {READY} ORDER BY - priority, project_id, {LANE} LIMIT 1)
        UNION ALL
        SELECT rank, project_id, lane, project_id IN (SELECT id FROM full_projects),
            lane IN (SELECT id FROM full_lanes)
        FROM (
            SELECT following.* FROM ahead, LATERAL (
                SELECT - priority AS rank, project_id, {LANE} AS lane FROM tasks
                WHERE {READY} AND (- priority, project_id, {LANE}) > (ahead.rank,
                    ahead.project_id, CASE WHEN is_full THEN '{_AFTER_LANES}' ELSE ahead.lane END)
                ORDER BY - priority, project_id, {LANE} LIMIT 1
            ) AS following
            WHERE ahead.is_full OR ahead.is_held
        ) AS behind
    )
    SELECT EXISTS (SELECT FROM ahead WHERE NOT is_full AND NOT is_held) OR (
        SELECT CASE WHEN max_running IS NULL THEN false
            ELSE id IN (SELECT id FROM full_projects) END
        FROM projects WHERE id = :project_id) AS waits
""")  # noqa: S608 - constants


def begin(connection: Connection) -> None:
    """Be the only dispatcher until the transaction ends; others wait."""
    connection.execute(_BEGIN)


def ready_due(connection: Connection, limit: int = 1000) -> int:
    """Make waiting tasks ready whose time has come; return how many."""
    return connection.execute(_READY_DUE, {"limit": limit}).rowcount


def forget_lost(connection: Connection, resend_after_s: float, limit: int) -> int:
    """Make tasks ready whose wake-up nobody answered in time; return how many."""
    after = {"resend_after": timedelta(seconds=resend_after_s), "limit": limit}
    return connection.execute(_FORGET_LOST, after).rowcount


def count_woken(connection: Connection) -> int:
    """Return how many tasks were woken and not yet claimed."""
    count: int = connection.execute(_COUNT_WOKEN).scalar_one()
    return count


def must_wait(connection: Connection, project_id: str) -> bool:
    """Return whether another task of a project has to wait its turn.

    It does while its project has as many in flight as may run, and behind the ready tasks of
    projects and batches that may run more.
    """
    waits: bool = ask_one(connection, _MUST_WAIT, {"project_id": project_id}).waits
    return waits


def note_unwoken(connection: Connection, task_ids: Sequence[str]) -> None:
    """Note that wake-ups were not sent after all, so that the dispatcher sends them soon."""
    connection.execute(
        update(tasks).where(tasks.c.id.in_(task_ids), tasks.c.status == PENDING).values(woken=None)
    )
