"""What is done to all tasks of a batch: they are cancelled, or those that failed are retried.

Somebody's decision is one write that takes effect at once: nothing of a batch begins that was
cancelled. Its tasks follow here, some hundreds in a transaction. Invariants: whoever works at a
batch holds its row, so nothing is done twice, and it is not over meanwhile; a state is changed only
as :data:`ingest.states.TRANSITIONS` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ARRAY, Connection, Row, String, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from ingest.batches import BatchStatus
from ingest.errors import Cancelled, HeadraceError
from ingest.events import ENDS, EventType
from ingest.ids import Prefix, make_ids
from ingest.naming import make_key
from ingest.states import Status, find_sources
from storage.records import decisions, names, outbox
from storage.records.batch_loading import find_beginning
from storage.records.batch_tables import batches
from storage.records.names import RESERVED
from storage.records.tables import PROCESSING, tasks

_NEXT = text(f"""
    SELECT batches.id, project_id, batches.status, retry_after, key_prefix
    FROM batches JOIN projects ON projects.id = project_id
    WHERE finished IS NULL AND (retry_after IS NOT NULL OR status = '{BatchStatus.CANCELLED}'
            AND complete + failed + cancelled < total)
        AND batches.id <> ALL(:done)
    ORDER BY batches.updated LIMIT 1 FOR UPDATE OF batches SKIP LOCKED
""").bindparams(bindparam("done", type_=ARRAY(String)))  # noqa: S608 - constants
# From behind an id on, or all tasks that are older than the batch might be looked at.
_PENDING_OF = text("""
    SELECT id FROM tasks WHERE batch_id = :batch_id AND status = 'pending' AND id > :after
    ORDER BY id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")
_FAILED_OF = text("""
    SELECT id, folder, filename, overwrites FROM tasks
    WHERE batch_id = :batch_id AND status = 'failed' AND id > :after ORDER BY id LIMIT :limit
    FOR NO KEY UPDATE
""")
# Each of them takes several statements.
_RUNNING_AT_ONCE = 50
_MOVED_COLUMNS = ", ".join(str(column) for column in tasks.columns)


def _tell_moved(event: EventType) -> str:
    """Return SQL that tells of the tasks in `moved`, each with the event id beside it."""
    return f"""
        SELECT event_id AS id, project_id, {outbox.write_type(event)}, id AS subject_id,
            jsonb_build_object('task', {outbox.snapshot_task("moved")} - 'event_id',
                'attempts', {outbox.list_attempts("moved", "<=")}) AS snapshot,
            {"webhook_url" if event in ENDS else "NULL"} AS webhook_url
        FROM moved
    """  # noqa: S608 - constants


_CANCEL = text(f"""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:event_ids AS text[]))
            AS given (given_id, event_id)
    ), moved AS (
        UPDATE tasks SET status = '{Status.CANCELLED}', updated = now(), finished = now(),
            next_attempt_at = NULL, woken = NULL, error = :error
        FROM given WHERE tasks.id = given_id AND status = ANY(:sources)
        RETURNING {_MOVED_COLUMNS}, event_id
    ), freed AS (
        DELETE FROM names USING moved WHERE names.task_id = moved.id
    ), tallied AS (
        INSERT INTO batch_tallies (batch_id, cancelled) SELECT :batch_id, count(*) FROM moved
    ), told AS ({_tell_moved(EventType.TASK_CANCELLED)}), {outbox.DELIVER}
    SELECT count(*) FROM moved
""").bindparams(  # noqa: S608 - constants
    bindparam("sources", type_=ARRAY(String)), bindparam("error", type_=JSONB)
)
_RETRY = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:ids AS text[]), CAST(:event_ids AS text[]), CAST(:object_keys AS text[]),
            CAST(:overwrites AS boolean[])
        ) AS given (given_id, event_id, object_key, overwrites)
    ), {RESERVED.format(id="given_id")}, moved AS (
        UPDATE tasks SET status = '{Status.PENDING}', updated = now(), finished = NULL,
            tries = 0, lost = 0, outage_since = NULL, next_attempt_at = NULL, woken = NULL,
            error = NULL
        FROM given WHERE tasks.id = given_id AND status = ANY(:sources)
            AND (object_key IS NULL OR given_id IN (SELECT task_id FROM had))
        RETURNING {_MOVED_COLUMNS}, event_id
    ), tallied AS (
        INSERT INTO batch_tallies (batch_id, failed) SELECT :batch_id, - count(*) FROM moved
    ), told AS ({_tell_moved(EventType.TASK_RETRYING)}), {outbox.DELIVER}
    SELECT given_id, object_key FROM given
    WHERE object_key IS NOT NULL AND given_id NOT IN (SELECT task_id FROM had)
""").bindparams(bindparam("sources", type_=ARRAY(String)))  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Step:
    """What was done to some tasks of a batch.

    ``count`` is how many were looked at: with none, nothing is left to be done to it for now.
    ``after`` is the last of those that waited, and ``stopped`` are those that ran.
    """

    batch_id: str
    count: int
    after: str
    stopped: Sequence[str] = ()


def work_off(
    connection: Connection,
    reached: Mapping[str, str],
    done: Collection[str],
    find_fault: Callable[[Connection, str, str], HeadraceError | None],
    limit: int = 500,
) -> Step | None:
    """Do what was decided to the next tasks of some batch.

    Args:
        reached: the ``after`` of the step before, by batch.
        done: batches to which nothing is left to be done.
        find_fault: says what is wrong with a key for a project, by its id, if anything is.

    Returns:
        None if there is no batch to be worked at.
    """
    batch = connection.execute(_NEXT, {"done": list(done)}).one_or_none()
    if batch is None:
        return None
    if batch.status == BatchStatus.CANCELLED:
        after = reached.get(batch.id) or find_beginning(batch.id)
        return _cancel(connection, batch.id, batch.project_id, after, limit)
    return _retry(connection, batch, find_fault, limit)


def _cancel(connection: Connection, batch_id: str, project_id: str, after: str, limit: int) -> Step:
    running = connection.execute(
        select(tasks.c.id)
        .where(tasks.c.batch_id == batch_id, tasks.c.status == PROCESSING)
        .order_by(tasks.c.id)
        .limit(_RUNNING_AT_ONCE)
    ).scalars()
    stopped = [
        task_id
        for task_id in list(running)
        if decisions.cancel(connection, project_id, task_id) is not None
    ]
    given = {"batch_id": batch_id, "after": after, "limit": limit}
    ids = list(connection.execute(_PENDING_OF, given).scalars())
    if ids:
        names.stop_waiting(connection, ids)
        failure = Cancelled("Somebody cancelled the batch.").as_failure()
        connection.execute(
            _CANCEL,
            {
                "ids": ids,
                "event_ids": make_ids(Prefix.EVENT, len(ids)),
                "batch_id": batch_id,
                "error": asdict(failure),
                "sources": list(find_sources(Status.CANCELLED) - {Status.PROCESSING}),
            },
        )
    return Step(batch_id, len(stopped) + len(ids), ids[-1] if ids else after, stopped)


def _retry(
    connection: Connection,
    batch: Row[tuple[object, ...]],
    find_fault: Callable[[Connection, str, str], HeadraceError | None],
    limit: int,
) -> Step:
    after = batch.retry_after or find_beginning(batch.id)
    given = {"batch_id": batch.id, "after": after, "limit": limit}
    failed = connection.execute(_FAILED_OF, given).all()
    after = failed[-1].id if len(failed) == limit else None
    connection.execute(update(batches).where(batches.c.id == batch.id).values(retry_after=after))
    keys = {
        row.id: make_key(batch.key_prefix, row.folder, row.filename)
        for row in failed
        if row.filename is not None
    }
    # Another project, or a connection, may have been given the place meanwhile.
    faults = {
        task_id: fault
        for task_id, key in keys.items()
        if (fault := find_fault(connection, batch.project_id, key)) is not None
    }
    open_again = [row for row in failed if row.id not in faults]
    ids = [row.id for row in open_again]
    taken = connection.execute(
        _RETRY,
        {
            "ids": ids,
            "event_ids": make_ids(Prefix.EVENT, len(ids)),
            "object_keys": [keys.get(task_id) for task_id in ids],
            "overwrites": [row.overwrites for row in open_again],
            "project_id": batch.project_id,
            "batch_id": batch.id,
            "sources": list(find_sources(Status.PENDING) & {Status.FAILED}),
        },
    ).all()
    overwriting = {row.id for row in open_again if row.overwrites}
    for row in taken:
        explain = names.explain_made if row.given_id in overwriting else names.explain_taken
        faults[row.given_id] = explain(row.object_key)
    for task_id, fault in faults.items():
        error = asdict(fault.as_failure())
        connection.execute(update(tasks).where(tasks.c.id == task_id).values(error=error))
    return Step(batch.id, len(failed), str(after))
