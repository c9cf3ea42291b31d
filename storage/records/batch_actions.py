"""What is done to all tasks of a batch: they are cancelled, or those that failed are retried.

Somebody's decision is one write that takes effect at once: nothing of a batch begins that was
cancelled. Its tasks follow here, some hundreds in a transaction. Invariants: whoever works at a
batch holds its row, so nothing is done twice, and it is not over meanwhile; a state is changed only
as :data:`ingest.states.TRANSITIONS` has it.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import ARRAY, Connection, Row, String, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from ingest.batches import BatchStatus
from ingest.errors import Cancelled
from ingest.events import ENDS, EventType
from ingest.ids import Prefix, make_ids
from ingest.naming import make_key
from ingest.states import Status, find_sources
from storage.records import decisions, outbox
from storage.records.batch_tables import batches
from storage.records.tables import PROCESSING, tasks
from storage.records.tasks import explain_taken

_NEXT = text(f"""
    SELECT batches.id, project_id, batches.status, retry_after, key_prefix
    FROM batches JOIN projects ON projects.id = project_id
    WHERE finished IS NULL AND (retry_after IS NOT NULL OR status = '{BatchStatus.CANCELLED}'
        AND complete + failed + cancelled < total)
    ORDER BY batches.updated LIMIT 1 FOR UPDATE OF batches SKIP LOCKED
""")  # noqa: S608 - constants
_PENDING_OF = text("""
    SELECT id FROM tasks WHERE batch_id = :batch_id AND status = 'pending'
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_FAILED_OF = text("""
    SELECT id, folder, filename FROM tasks
    WHERE batch_id = :batch_id AND status = 'failed' AND id > :after ORDER BY id LIMIT :limit
    FOR UPDATE
""")
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
            CAST(:ids AS text[]), CAST(:event_ids AS text[]), CAST(:object_keys AS text[])
        ) AS given (given_id, event_id, object_key)
    ), named AS (
        INSERT INTO names (object_key, project_id, task_id)
        SELECT object_key, :project_id, given_id FROM given WHERE object_key IS NOT NULL
        ORDER BY object_key ON CONFLICT DO NOTHING
        RETURNING task_id
    ), moved AS (
        UPDATE tasks SET status = '{Status.PENDING}', updated = now(), finished = NULL,
            tries = 0, lost = 0, outage_since = NULL, next_attempt_at = NULL, woken = NULL,
            error = NULL
        FROM given WHERE tasks.id = given_id AND status = ANY(:sources)
            AND (object_key IS NULL OR given_id IN (SELECT task_id FROM named))
        RETURNING {_MOVED_COLUMNS}, event_id
    ), tallied AS (
        INSERT INTO batch_tallies (batch_id, failed) SELECT :batch_id, - count(*) FROM moved
    ), told AS ({_tell_moved(EventType.TASK_RETRYING)}), {outbox.DELIVER}
    SELECT given_id, object_key FROM given
    WHERE object_key IS NOT NULL AND given_id NOT IN (SELECT task_id FROM named)
""").bindparams(bindparam("sources", type_=ARRAY(String)))  # noqa: S608 - constants


def work_off(connection: Connection, limit: int = 500) -> int:
    """Do what was decided to the next tasks of some batch; return how many were looked at."""
    batch = connection.execute(_NEXT).one_or_none()
    if batch is None:
        return 0
    if batch.status == BatchStatus.CANCELLED:
        return _cancel(connection, batch.id, batch.project_id, limit)
    return _retry(connection, batch, limit)


def _cancel(connection: Connection, batch_id: str, project_id: str, limit: int) -> int:
    running = connection.execute(
        select(tasks.c.id)
        .where(tasks.c.batch_id == batch_id, tasks.c.status == PROCESSING)
        .order_by(tasks.c.id)
        .limit(limit)
    ).scalars()
    stopped = [decisions.cancel(connection, project_id, task_id) for task_id in running]
    ids = list(connection.execute(_PENDING_OF, {"batch_id": batch_id, "limit": limit}).scalars())
    if ids:
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
    return len(stopped) + len(ids)


def _retry(connection: Connection, batch: Row[tuple[object, ...]], limit: int) -> int:
    given = {"batch_id": batch.id, "after": batch.retry_after, "limit": limit}
    failed = connection.execute(_FAILED_OF, given).all()
    after = failed[-1].id if len(failed) == limit else None
    connection.execute(update(batches).where(batches.c.id == batch.id).values(retry_after=after))
    if not failed:
        return 0
    taken = connection.execute(
        _RETRY,
        {
            "ids": [row.id for row in failed],
            "event_ids": make_ids(Prefix.EVENT, len(failed)),
            "object_keys": [
                None
                if row.filename is None
                else make_key(batch.key_prefix, row.folder, row.filename)
                for row in failed
            ],
            "project_id": batch.project_id,
            "batch_id": batch.id,
            "sources": list(find_sources(Status.PENDING) & {Status.FAILED}),
        },
    ).all()
    for row in taken:
        error = asdict(explain_taken(row.object_key).as_failure())
        connection.execute(update(tasks).where(tasks.c.id == row.given_id).values(error=error))
    return len(failed)
