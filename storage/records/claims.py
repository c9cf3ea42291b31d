"""Claims: a worker takes the lease of a pending task, if it may run now.

Invariants: a claim raises ``attempt`` by one, and that number is the fencing token of all that the
attempt writes; what is counted to admit a claim cannot change until the claim is committed.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import (
    ARRAY,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Interval,
    String,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    text,
    update,
)

from ingest.batches import BatchStatus
from ingest.events import EventType
from ingest.model import Lease
from ingest.states import Status, find_sources
from storage.records import names, outbox
from storage.records.asking import ask, write_query
from storage.records.lookups import COLUMNS, to_failure, to_task
from storage.records.tables import PROCESSING, tasks
from storage.records.tasks import in_seconds

# A task that lost this many leases in a row may be what kills its workers.
_SUSPECT_AFTER = 2
# Namespaces of advisory locks: what is counted under them cannot change meanwhile. They are taken
# in this order: host, project, worker. 3 is the dispatcher's.
_HOST_LOCK, _WORKER_LOCK, _PROJECT_LOCK = 1, 2, 4
_SOURCES = find_sources(Status.PROCESSING)
_SUSPECT = f"lost > 0 AND lost >= least({_SUSPECT_AFTER}, max_attempts - 1)"

# Locks the row, and then what is counted for its host and its project: always in this order, since
# a row comes out of the CTE only once it is locked, and the outer query takes one lock after the
# other. What is counted has to be counted by a later statement.
_LOOK = text(f"""
    WITH found AS MATERIALIZED (
        SELECT source_host, error, {_SUSPECT} AS suspect, key_prefix, tasks.project_id, max_running,
            max_stored_bytes - projects.stored_bytes AS room_bytes,
            batches.status IN ('{BatchStatus.PAUSED}', '{BatchStatus.CANCELLED}') AS is_held
        FROM tasks JOIN projects ON projects.id = project_id
            LEFT JOIN batches ON batches.id = batch_id
        WHERE tasks.id = :task_id AND tasks.status = 'pending'
            AND (next_attempt_at IS NULL OR next_attempt_at <= now())
        FOR UPDATE OF tasks
    ), hosted AS MATERIALIZED (
        SELECT *, CASE WHEN :host_limit > 0
            THEN pg_advisory_xact_lock({_HOST_LOCK}, hashtext(source_host)) END AS host_locked
        FROM found
    )
    SELECT *, CASE WHEN max_running IS NOT NULL
        THEN pg_advisory_xact_lock({_PROJECT_LOCK}, hashtext(project_id)) END AS project_locked
    FROM hosted
""").bindparams(bindparam("host_limit", type_=Integer))  # noqa: S608 - constants
_LOOK_QUERY = write_query(_LOOK)

_TAKE = text(f"""
    WITH taken AS (
        UPDATE tasks SET status = :processing, updated = now(), attempt = attempt + 1,
            tries = tries + 1, worker = :worker, lease_until = now() + :lease,
            next_attempt_at = NULL, started = coalesce(started, now()), error = NULL
        WHERE id = :task_id AND status = ANY(:sources) AND (:host_limit = 0 OR :host_limit > (
            SELECT count(*) FROM tasks WHERE status = 'processing' AND source_host = :host))
            AND (:max_running IS NULL OR :max_running > (
            SELECT count(*) FROM tasks WHERE status = 'processing' AND project_id = :project_id))
        RETURNING {COLUMNS}
    ), begun AS (
        INSERT INTO attempts (task_id, number, worker) SELECT id, attempt, worker FROM taken
        RETURNING task_id, number, worker, started
    ), told AS (
        SELECT :event_id AS id, project_id, {outbox.write_type(EventType.TASK_STARTED)},
            id AS subject_id,
            jsonb_build_object('task', {outbox.snapshot_task("taken")}, 'attempts',
                {outbox.list_attempts("taken", "<")} || to_jsonb(begun)) AS snapshot,
            NULL AS webhook_url
        FROM taken, begun
    ), {outbox.DELIVER}
    SELECT {COLUMNS} FROM taken
""").bindparams(  # noqa: S608 - constants
    bindparam("sources", type_=ARRAY(String)),
    bindparam("lease", type_=Interval),
    bindparam("event_id", type_=String),
    bindparam("host_limit", type_=Integer),
    bindparam("max_running", type_=Integer),
)
_TAKE_QUERY = write_query(_TAKE)


def claim(
    connection: Connection, task_id: str, worker: str, lease_s: float, *, host_limit: int = 0
) -> Lease | None:
    """Take the lease of a pending task.

    A task is put off by a second or two while ``host_limit`` others (0: any number) fetch from its
    host, while its project runs as many as it may, and while this worker runs another task under
    suspicion of killing workers: so a poison task is soon alone, and takes no neighbour along. One
    whose batch was paused or cancelled waits to be woken again.

    Returns:
        None if there is no work: the wake-up was late or doubled, or the task is put off.
    """
    task = ask(connection, _LOOK_QUERY, {"task_id": task_id, "host_limit": host_limit})
    if task is None:
        return None
    if task.is_held:
        _unwake(connection, task_id)
        return None
    if task.suspect and _runs_suspect(connection, worker):
        _put_off(connection, task_id)
        return None
    row = ask(
        connection,
        _TAKE_QUERY,
        {
            "task_id": task_id,
            "processing": Status.PROCESSING,
            "sources": list(_SOURCES),
            "worker": worker,
            "lease": timedelta(seconds=lease_s),
            "host": task.source_host,
            "host_limit": host_limit,
            "project_id": task.project_id,
            "max_running": task.max_running,
            "event_id": outbox.make_event_id(),
        },
    )
    if row is None:
        _put_off(connection, task_id)
        return None
    replaced_bytes = names.find_replaced_bytes(connection, task_id) if row.overwrites else None
    room_bytes = task.room_bytes
    if room_bytes is not None:
        # What the file gives back that is replaced is room for the new one.
        room_bytes = max(0, room_bytes + (replaced_bytes or 0))
    return Lease(
        to_task(row),
        task.key_prefix,
        row.attempt,
        worker,
        to_failure(task.error),
        room_bytes,
        replaces=replaced_bytes is not None,
    )


def is_suspect() -> ColumnElement[bool]:
    """Return the condition that a task may be what kills its workers."""
    return literal_column(f"({_SUSPECT})", Boolean)


def _runs_suspect(connection: Connection, worker: str) -> bool:
    connection.execute(select(func.pg_advisory_xact_lock(_WORKER_LOCK, func.hashtext(worker))))
    others = exists().where(tasks.c.status == PROCESSING, tasks.c.worker == worker, is_suspect())
    return bool(connection.execute(select(others)).scalar_one())


def _unwake(connection: Connection, task_id: str) -> None:
    connection.execute(update(tasks).where(tasks.c.id == task_id).values(woken=None))


def _put_off(connection: Connection, task_id: str) -> None:
    connection.execute(
        update(tasks)
        .where(tasks.c.id == task_id)
        .values(woken=None, next_attempt_at=in_seconds(1) + func.random() * timedelta(seconds=1))
    )
