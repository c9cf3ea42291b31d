"""Which pending tasks are woken next."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, update

from storage.records.tables import tasks
from storage.records.tasks import PENDING, in_seconds


def pick_wakeable(connection: Connection, limit: int, resend_after_s: float) -> Sequence[str]:
    """Choose pending tasks to wake, oldest first, and note that they were.

    A task whose last wake-up is younger than ``resend_after_s`` is left alone. Any number of
    dispatchers may call this at once: rows locked by another are skipped.
    """
    due = (
        select(tasks.c.id)
        .where(
            tasks.c.status == PENDING,
            (tasks.c.woken.is_(None)) | (tasks.c.woken < in_seconds(-resend_after_s)),
        )
        .order_by(tasks.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # A CTE with row locks is run once; a subquery may be run again and pass its limit.
        .cte("due")
    )
    rows = connection.execute(
        update(tasks).where(tasks.c.id == due.c.id).values(woken=func.now()).returning(tasks.c.id)
    )
    return sorted(row.id for row in rows)


def note_unwoken(connection: Connection, task_ids: Sequence[str]) -> None:
    """Note that wake-ups were not sent after all, so that the dispatcher sends them soon."""
    connection.execute(update(tasks).where(tasks.c.id.in_(task_ids)).values(woken=None))
