"""Claims: a worker takes the lease of a pending task, if it may run now.

Invariants: a claim raises ``attempt`` by one, and that number is the fencing token of all that the
attempt writes; what is counted to admit a claim cannot change until the claim is committed.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, func, insert, select, update

from ingest.model import Lease
from ingest.states import Status
from storage.records.lookups import to_failure, to_task
from storage.records.tables import PENDING, PROCESSING, attempts, projects, tasks
from storage.records.tasks import in_seconds, move

# A task that lost this many leases in a row may be what kills its workers.
_SUSPECT_AFTER = 2
# Namespaces of advisory locks: what is counted under them cannot change meanwhile.
_HOST_LOCK, _WORKER_LOCK = 1, 2


def claim(
    connection: Connection, task_id: str, worker: str, lease_s: float, *, host_limit: int = 0
) -> Lease | None:
    """Take the lease of a pending task.

    A task is put off by a second or two while ``host_limit`` others (0: any number) fetch from its
    host, and while this worker runs another task under suspicion of killing workers: so a poison
    task is soon alone, and takes no neighbour along.

    Returns:
        None if there is no work: the wake-up was late or doubled, or the task is put off.
    """
    task = connection.execute(
        select(tasks.c.source_host, tasks.c.error, is_suspect().label("suspect"))
        .where(
            tasks.c.id == task_id,
            tasks.c.status == PENDING,
            tasks.c.next_attempt_at.is_(None) | (tasks.c.next_attempt_at <= func.now()),
        )
        .with_for_update()
    ).one_or_none()
    if task is None:
        return None
    if _is_host_full(connection, task.source_host, host_limit) or (
        task.suspect and _runs_suspect(connection, worker)
    ):
        _put_off(connection, task_id)
        return None
    row = move(
        connection,
        task_id,
        Status.PROCESSING,
        values={
            "attempt": tasks.c.attempt + 1,
            "tries": tasks.c.tries + 1,
            "worker": worker,
            "lease_until": in_seconds(lease_s),
            "next_attempt_at": None,
            "started": func.coalesce(tasks.c.started, func.now()),
            "error": None,
        },
    )
    if row is None:
        return None
    connection.execute(insert(attempts).values(task_id=task_id, number=row.attempt, worker=worker))
    key_prefix = connection.execute(
        select(projects.c.key_prefix).where(projects.c.id == row.project_id)
    ).scalar_one()
    return Lease(to_task(row), key_prefix, row.attempt, worker, to_failure(task.error))


def is_suspect() -> ColumnElement[bool]:
    """Return the condition that a task may be what kills its workers."""
    return and_(
        tasks.c.lost > 0, tasks.c.lost >= func.least(_SUSPECT_AFTER, tasks.c.max_attempts - 1)
    )


def _is_host_full(connection: Connection, host: str, limit: int) -> bool:
    if limit == 0:
        return False
    connection.execute(select(func.pg_advisory_xact_lock(_HOST_LOCK, func.hashtext(host))))
    running = connection.execute(
        select(func.count()).where(tasks.c.status == PROCESSING, tasks.c.source_host == host)
    ).scalar_one()
    return running >= limit


def _runs_suspect(connection: Connection, worker: str) -> bool:
    connection.execute(select(func.pg_advisory_xact_lock(_WORKER_LOCK, func.hashtext(worker))))
    others = exists().where(tasks.c.status == PROCESSING, tasks.c.worker == worker, is_suspect())
    return bool(connection.execute(select(others)).scalar_one())


def _put_off(connection: Connection, task_id: str) -> None:
    connection.execute(
        update(tasks)
        .where(tasks.c.id == task_id)
        .values(woken=None, next_attempt_at=in_seconds(1) + func.random() * timedelta(seconds=1))
    )
