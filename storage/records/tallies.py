"""What the tasks of batches came to: noted as each ends, added up once a second.

Invariants: the note is written by the transaction that ends the task, so at any moment the counts
of a batch and its notes are together exactly the tasks that have ended; a batch is over when those
are all of its tasks, which is decided here, once, and told in the same transaction. Whoever reopens
a task holds the batch's row first, or it could be over with a task that is pending.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ARRAY, Connection, String, bindparam, insert, select, text, update

from ingest.batches import RATE_WINDOW_S, BatchStatus
from ingest.events import EventType
from ingest.states import Status
from storage.records import outbox
from storage.records.batch_tables import batch_tallies, batches

# A namespace of advisory locks, as those in ``claims``: one adds up at a time.
_FOLD_LOCK = 6

# For a statement that ends a task well, in a table `ended`.
TALLY_COMPLETE = """
    tallied AS (
        INSERT INTO batch_tallies (batch_id, complete, stored_bytes)
        SELECT batch_id, 1, :filesize_bytes FROM ended WHERE batch_id IS NOT NULL
    )
"""
_COUNTED = ("complete", "failed", "cancelled", "stored_bytes")
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in _COUNTED)
_ADDED = ", ".join(f"{name} = batches.{name} + summed.{name}" for name in _COUNTED)
_FOLD = text(f"""
    WITH gone AS (
        DELETE FROM batch_tallies WHERE id = ANY(ARRAY(
            SELECT id FROM batch_tallies ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED))
        RETURNING batch_id, {", ".join(_COUNTED)}
    ), summed AS (
        SELECT batch_id, count(*) AS notes, {_SUMS},
            sum(greatest(complete + failed + cancelled, 0)) AS ended
        FROM gone GROUP BY batch_id
    ), timed AS (
        SELECT summed.*, greatest(extract(epoch FROM now() - batches.counted), 0.001) AS elapsed_s
        FROM summed JOIN batches ON batches.id = batch_id
    ), weighed AS (
        SELECT timed.*, exp(- elapsed_s / {RATE_WINDOW_S}) AS kept FROM timed
    ), added AS (
        UPDATE batches SET {_ADDED.replace("summed", "weighed")}, counted = now(), updated = now(),
            tasks_per_s = tasks_per_s * kept + weighed.ended / elapsed_s * (1 - kept),
            bytes_per_s = bytes_per_s * kept + weighed.stored_bytes / elapsed_s * (1 - kept)
        FROM weighed WHERE batches.id = batch_id
    )
    SELECT coalesce(sum(notes), 0) FROM summed
""")  # noqa: S608 - constants
# A list that is still read has no tasks yet, and a dry run never has any.
_ALL_ENDED = (
    "finished IS NULL AND retry_after IS NULL AND complete + failed + cancelled >= total"
    f" AND status <> '{BatchStatus.LOADING}' AND NOT dry_run"
)
_HOLD_ENDED = text(f"""
    SELECT id FROM batches WHERE {_ALL_ENDED} ORDER BY id FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - constants
# A statement of its own: it must see what was committed while the rows were waited for.
_FINISH = text(f"""
    UPDATE batches SET finished = now(), updated = now(), status = CASE status
        WHEN '{BatchStatus.CANCELLED}' THEN status ELSE '{BatchStatus.COMPLETE}' END
    WHERE id = ANY(:ids) AND {_ALL_ENDED}
        AND NOT EXISTS (SELECT FROM batch_tallies WHERE batch_id = batches.id)
    RETURNING id, status, failed
""").bindparams(bindparam("ids", type_=ARRAY(String)))  # noqa: S608 - constants


def tally(connection: Connection, batch_id: str | None, status: Status, count: int = 1) -> None:
    """Note that tasks of a batch have ended; fewer than none: that they are open again."""
    if batch_id is not None:
        connection.execute(
            insert(batch_tallies).values({"batch_id": batch_id, status.value: count})
        )


def hold(connection: Connection, batch_id: str | None) -> None:
    """Let nobody say that a batch is over before this transaction has ended."""
    if batch_id is not None:
        connection.execute(select(batches.c.id).where(batches.c.id == batch_id).with_for_update())


def reopen(connection: Connection, batch_id: str | None) -> None:
    """Note that a batch, which the caller holds, has an open task again."""
    if batch_id is not None:
        connection.execute(
            update(batches)
            .where(batches.c.id == batch_id, batches.c.finished.is_not(None))
            .values(status=BatchStatus.PROCESSING, finished=None)
        )


def fold(connection: Connection, limit: int = 10_000) -> int:
    """Add up what has ended; return how many notes that were. Those of others are left to them."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_FOLD_LOCK}, 0)"))
    notes: int = connection.execute(_FOLD, {"limit": limit}).scalar_one()
    return notes


def finish(connection: Connection) -> Sequence[str]:
    """Say of batches that they are over whose tasks have all ended; return their ids."""
    ids = list(connection.execute(_HOLD_ENDED).scalars())
    if not ids:
        return ids
    over = connection.execute(_FINISH, {"ids": ids}).all()
    for row in over:
        event = EventType.BATCH_FAILED if row.failed else EventType.BATCH_COMPLETED
        if row.status == BatchStatus.CANCELLED:
            event = EventType.BATCH_CANCELLED
        outbox.tell_batch(connection, event, row.id)
    return [row.id for row in over]
