"""Claims: a worker takes the lease of a pending task, if it may run now.

Invariants: a claim raises ``attempt`` by one, and that number is the fencing token of all that the
attempt writes; what is counted to admit a claim cannot change until the claim is committed. It is
one statement: locks that are held from one to the next let the claims of one host wait for each
other for as long as a busy worker takes in between.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ARRAY, Connection, Integer, Interval, String, bindparam, text

from ingest.batches import BatchStatus
from ingest.events import EventType
from ingest.model import Lease
from ingest.states import Status, find_sources
from storage.records import outbox
from storage.records.asking import ask, write_query
from storage.records.lookups import COLUMNS, to_failure, to_task
from storage.records.tables import tasks

_SOURCES = find_sources(Status.PROCESSING)
# With the table's name: a column of another that is called so one day must not be meant.
_TAKEN = ", ".join(str(column) for column in tasks.columns)

# Each function takes an advisory lock and counts under it what runs, in a statement of its own: the
# snapshot of this one may be older than the lock. They are always called in this order, and only
# with the row locked: it comes out of `found` once it is. Their namespaces are 1 for hosts, 2 for
# workers and 4 for projects; 3 is the dispatcher's. A task that lost two leases in a row, or all
# but its last attempt, may be what kills its workers: count_running_suspects says so, too.
_CLAIM = text(f"""
    WITH found AS MATERIALIZED (
        SELECT tasks.id AS found_id, tasks.source_host AS host, tasks.project_id AS owner,
            tasks.error AS previous_error, projects.key_prefix, projects.max_running,
            projects.max_stored_bytes - projects.stored_bytes AS room_bytes,
            tasks.lost > 0 AND tasks.lost >= least(2, tasks.max_attempts - 1) AS is_suspect,
            batches.status IN ('{BatchStatus.PAUSED}', '{BatchStatus.CANCELLED}') AS is_held
        FROM tasks JOIN projects ON projects.id = tasks.project_id
            LEFT JOIN batches ON batches.id = tasks.batch_id
        WHERE tasks.id = :task_id AND tasks.status = ANY(:sources)
            AND (tasks.next_attempt_at IS NULL OR tasks.next_attempt_at <= now())
        FOR UPDATE OF tasks
    ), judged AS MATERIALIZED (
        SELECT *, CASE
            WHEN is_held THEN false
            WHEN CASE WHEN :host_limit > 0
                THEN count_running_from_host(host) >= :host_limit END THEN false
            WHEN CASE WHEN max_running IS NOT NULL
                THEN count_running_of_project(owner) >= max_running END THEN false
            WHEN CASE WHEN is_suspect
                THEN count_running_suspects(:worker) > 0 END THEN false
            ELSE true END AS is_admitted
        FROM found
    ), taken AS (
        UPDATE tasks SET status = :processing, updated = now(), attempt = tasks.attempt + 1,
            tries = tasks.tries + 1, worker = :worker, lease_until = now() + :lease,
            next_attempt_at = NULL, started = coalesce(tasks.started, now()), error = NULL
        FROM judged WHERE tasks.id = judged.found_id AND judged.is_admitted
        RETURNING {_TAKEN}
    ), refused AS (
        UPDATE tasks SET woken = NULL, next_attempt_at = CASE
            WHEN judged.is_held THEN tasks.next_attempt_at
            ELSE now() + (1 + random()) * interval '1 second' END
        FROM judged WHERE tasks.id = judged.found_id AND NOT judged.is_admitted
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
    SELECT {COLUMNS}, previous_error, key_prefix, room_bytes, CASE WHEN overwrites THEN (
        SELECT filesize_bytes FROM files JOIN names ON names.task_id = files.task_id
        WHERE names.next_task_id = taken.id) END AS replaced_bytes
    FROM taken, judged
""").bindparams(  # noqa: S608 - constants
    bindparam("sources", type_=ARRAY(String)),
    bindparam("lease", type_=Interval),
    bindparam("event_id", type_=String),
    bindparam("host_limit", type_=Integer),
    bindparam("worker", type_=String),
)
_CLAIM_QUERY = write_query(_CLAIM)


def claim(
    connection: Connection, task_id: str, worker: str, lease_s: float, *, host_limit: int = 0
) -> Lease | None:
    """Take the lease of a pending task.

    A task is put off by a second or two while ``host_limit`` others (0: any number) fetch from its
    host, while its project runs as many as it may, and while this worker runs another task under
    suspicion of killing workers: so a poison task is soon alone, and takes no neighbour along. One
    whose batch was paused or cancelled waits to be woken again.

    One that the server has begun is done, also where the worker is killed meanwhile: the sweep
    finds the lease of such an attempt run out.

    Args:
        connection: of :meth:`storage.records.database.Database.look`, so that others wait for no
            longer than the statement takes; one with a transaction will do.

    Returns:
        None if there is no work: the wake-up was late or doubled, or the task is put off.
    """
    row = ask(
        connection,
        _CLAIM_QUERY,
        {
            "task_id": task_id,
            "processing": Status.PROCESSING,
            "sources": list(_SOURCES),
            "worker": worker,
            "lease": timedelta(seconds=lease_s),
            "host_limit": host_limit,
            "event_id": outbox.make_event_id(),
        },
    )
    if row is None:
        return None
    room_bytes = row.room_bytes
    if room_bytes is not None:
        # What the file gives back that is replaced is room for the new one.
        room_bytes = max(0, room_bytes + (row.replaced_bytes or 0))
    return Lease(
        to_task(row),
        row.key_prefix,
        row.attempt,
        worker,
        to_failure(row.previous_error),
        room_bytes,
        replaces=row.replaced_bytes is not None,
    )
