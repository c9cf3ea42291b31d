"""Batches: made, read, decided about. How their tasks come to be stands in ``batch_loading``, what
those came to in ``tallies``, and what is done to one of them after the other in ``batch_actions``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Row,
    String,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    text,
    true,
    update,
)

from ingest.batches import (
    DECISIONS,
    Batch,
    BatchStatus,
    Counts,
    Reject,
    measure_rate,
)
from ingest.errors import Failure
from ingest.events import EventType
from ingest.model import JsonObject, Page
from storage.records import outbox
from storage.records.batch_tables import batch_jobs, batch_rejects, batch_sources, batches
from storage.records.listing import Window, read_page
from storage.records.lookups import to_failure

# Shown with a batch; all of them are in its results.
SHOWN_REJECTS = 100
# One statement, so that what is added up in between is counted once.
_READ = text("""
    SELECT batch.*, noted.complete AS new_complete, noted.failed AS new_failed,
        noted.cancelled AS new_cancelled, noted.stored_bytes AS new_bytes, (
            SELECT count(*) FROM tasks WHERE batch_id = batch.id AND status = 'processing'
        ) AS processing,
        CAST(extract(epoch FROM now() - counted) AS float) AS idle_s,
        CAST(extract(epoch FROM now() - created) AS float) AS age_s
    FROM batches AS batch, LATERAL (
        SELECT coalesce(sum(complete), 0) AS complete, coalesce(sum(failed), 0) AS failed,
            coalesce(sum(cancelled), 0) AS cancelled,
            CAST(coalesce(sum(stored_bytes), 0) AS bigint) AS stored_bytes
        FROM batch_tallies WHERE batch_id = batch.id
    ) AS noted
    WHERE batch.id = ANY(:ids) AND batch.project_id = :project_id
""").bindparams(bindparam("ids", type_=ARRAY(String)))


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """What ``GET /batches`` may be narrowed to; None means any."""

    status: BatchStatus | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """What somebody asks of a batch, besides its tasks."""

    ref: str | None
    metadata: JsonObject | None
    webhook_url: str | None
    concurrency: int | None


def create_loading(
    connection: Connection,
    project_id: str,
    batch_id: str,
    asked: NewBatch,
    *,
    source_url: str,
    dry_run: bool,
    request_id: str,
) -> None:
    """Write a batch down whose list is still to be read. Nothing is told of it until it is."""
    connection.execute(
        insert(batches).values(
            **_to_row(project_id, batch_id, asked, request_id),
            status=BatchStatus.LOADING,
            source_url=source_url,
            dry_run=dry_run,
            total=0,
            rejected=0,
        )
    )


def create_check(
    connection: Connection,
    project_id: str,
    batch_id: str,
    asked: NewBatch,
    *,
    total: int,
    rejects: Sequence[Reject],
    rejected: int,
    request_id: str,
) -> None:
    """Write a dry run down whose sources are to be asked; as :func:`create`, but nothing is told
    of it."""
    connection.execute(
        insert(batches).values(
            **_to_row(project_id, batch_id, asked, request_id),
            dry_run=True,
            total=total,
            rejected=rejected,
        )
    )
    keep_rejects(connection, batch_id, rejects)


def create(
    connection: Connection,
    project_id: str,
    batch_id: str,
    asked: NewBatch,
    *,
    total: int,
    rejects: Sequence[Reject],
    rejected: int,
    request_id: str,
) -> None:
    """Write a batch down whose tasks were loaded by the same transaction, and tell of it.

    Args:
        rejects: those that are kept, of all that were ``rejected``.
    """
    connection.execute(
        insert(batches).values(
            **_to_row(project_id, batch_id, asked, request_id), total=total, rejected=rejected
        )
    )
    keep_rejects(connection, batch_id, rejects)
    outbox.tell_batch(connection, EventType.BATCH_CREATED, batch_id)


def _to_row(
    project_id: str, batch_id: str, asked: NewBatch, request_id: str
) -> Mapping[str, object]:
    return {
        "id": batch_id,
        "project_id": project_id,
        **{name: getattr(asked, name) for name in NewBatch.__slots__},
        "request_id": request_id,
    }


def keep_rejects(connection: Connection, batch_id: str, rejects: Sequence[Reject]) -> None:
    """Write down rows of a batch's list that became no tasks."""
    if not rejects:
        return
    connection.execute(
        insert(batch_rejects),
        [
            {
                "batch_id": batch_id,
                "line": one.line,
                "url": one.url,
                "error": {**asdict(one.error), "param": one.param},
            }
            for one in rejects
        ],
    )


def get(connection: Connection, project_id: str, batch_id: str) -> Batch | None:
    """Return a project's batch with the first of its rejects, or None."""
    found = _read(connection, project_id, [batch_id])
    if not found:
        return None
    return replace(found[0], rejects=list_rejects(connection, batch_id, 0, SHOWN_REJECTS))


def list_page(
    connection: Connection, project_id: str, narrowed: BatchFilter, window: Window
) -> Page[Batch]:
    """Return one page of a project's batches, newest first, without their rejects."""
    conditions: list[ColumnElement[bool]] = [batches.c.project_id == project_id]
    if narrowed.status is not None:
        conditions.append(batches.c.status == narrowed.status)
    if narrowed.ref is not None:
        conditions.append(batches.c.ref == narrowed.ref)
    page = read_page(connection, batches, conditions, window, to_batch)
    ids = [batch.id for batch in page.items]
    return replace(page, items=_read(connection, project_id, ids) if ids else [])


def list_rejects(
    connection: Connection, batch_id: str, after_line: int, limit: int
) -> Sequence[Reject]:
    """Return rows of a batch's list that became no tasks, from behind a line on, in order."""
    query = (
        select(batch_rejects)
        .where(batch_rejects.c.batch_id == batch_id, batch_rejects.c.line > after_line)
        .order_by(batch_rejects.c.line)
        .limit(limit)
    )
    return [_to_reject(row) for row in connection.execute(query)]


def pause(connection: Connection, project_id: str, batch_id: str) -> bool:
    """Let no more tasks of a batch begin; return whether it was there and at work."""
    return _decide(connection, project_id, batch_id, "pause", {"status": BatchStatus.PAUSED})


def resume(connection: Connection, project_id: str, batch_id: str) -> bool:
    """Let the tasks of a paused batch begin again; return whether it was there and paused."""
    return _decide(connection, project_id, batch_id, "resume", {"status": BatchStatus.PROCESSING})


def cancel(connection: Connection, project_id: str, batch_id: str) -> bool:
    """Let no more tasks of a batch begin, and have all that are open cancelled.

    What reads its list, or asks its sources, comes to nothing.

    Returns:
        Whether it was there and could be cancelled.
    """
    open_rows = batches.c.total - batches.c.complete - batches.c.failed
    values = {
        "status": BatchStatus.CANCELLED,
        "retry_after": None,
        # Of a dry run there are no tasks to be waited for.
        "cancelled": case((batches.c.dry_run, open_rows), else_=batches.c.cancelled),
        "finished": case((batches.c.dry_run, func.now()), else_=batches.c.finished),
    }
    if not _decide(connection, project_id, batch_id, "cancel", values):
        return False
    connection.execute(delete(batch_jobs).where(batch_jobs.c.batch_id == batch_id))
    connection.execute(
        update(batch_sources)
        .where(batch_sources.c.batch_id == batch_id, batch_sources.c.status == "pending")
        .values(status=BatchStatus.CANCELLED.value, sealed_headers=None)
    )
    return True


def forget_dry_runs(connection: Connection, age: timedelta, limit: int) -> int:
    """Delete dry runs that ended so long ago, with what was found out; return how many."""
    old = (
        select(batches.c.id)
        .where(batches.c.dry_run, batches.c.finished < func.now() - age)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(delete(batches).where(batches.c.id.in_(old))).rowcount


def retry(connection: Connection, project_id: str, batch_id: str) -> bool:
    """Have all tasks of a batch retried that have failed until now.

    Returns:
        Whether it was there and could be retried.
    """
    values = {
        "retry_after": "",
        "finished": None,
        "status": case(
            (batches.c.status == BatchStatus.COMPLETE.value, BatchStatus.PROCESSING.value),
            else_=batches.c.status,
        ),
    }
    return _decide(connection, project_id, batch_id, "retry", values)


def to_batch(row: Row[tuple[object, ...]]) -> Batch:
    """Return what a whole row of ``batches`` means, as far as it was added up then."""
    ended = row.complete + row.failed + row.cancelled
    life_s = 0.0 if row.finished is None else (row.finished - row.created).total_seconds()
    return Batch(
        id=row.id,
        project_id=row.project_id,
        status=BatchStatus(row.status),
        ref=row.ref,
        metadata=row.metadata,
        webhook_url=row.webhook_url,
        concurrency=row.concurrency,
        total=row.total,
        rejected=row.rejected,
        counts=Counts(max(0, row.total - ended), 0, row.complete, row.failed, row.cancelled),
        stored_bytes=row.stored_bytes,
        tasks_per_s=ended / life_s if life_s > 0 else 0.0,
        bytes_per_s=row.stored_bytes / life_s if life_s > 0 else 0.0,
        request_id=row.request_id,
        created=row.created,
        finished=row.finished,
        updated=row.updated,
        source_url=row.source_url,
        # Events of before have no word of it.
        dry_run=bool(row.dry_run),
        error=to_failure(row.list_error),
    )


def _read(connection: Connection, project_id: str, ids: Sequence[str]) -> Sequence[Batch]:
    rows = connection.execute(_READ, {"ids": list(ids), "project_id": project_id})
    found = {row.id: _add_notes(to_batch(row), row) for row in rows}
    return [found[one] for one in ids if one in found]


def _add_notes(batch: Batch, row: Row[tuple[object, ...]]) -> Batch:
    """Return a batch with what has ended since it was last added up, and what runs."""
    before = batch.counts
    complete = before.complete + row.new_complete
    failed = before.failed + row.new_failed
    cancelled = before.cancelled + row.new_cancelled
    ended = complete + failed + cancelled
    counts = Counts(
        pending=max(0, batch.total - ended - row.processing),
        processing=row.processing,
        complete=complete,
        failed=failed,
        cancelled=cancelled,
    )
    if batch.finished is None:
        new = max(0, row.new_complete + row.new_failed + row.new_cancelled)
        batch = replace(
            batch,
            tasks_per_s=measure_rate(row.tasks_per_s, new, row.idle_s, row.age_s),
            bytes_per_s=measure_rate(row.bytes_per_s, row.new_bytes, row.idle_s, row.age_s),
        )
    return replace(batch, counts=counts, stored_bytes=batch.stored_bytes + row.new_bytes)


def _to_reject(row: Row[tuple[object, ...]]) -> Reject:
    error: Mapping[str, object] = row.error
    failure = Failure(str(error["code"]), str(error["message"]), bool(error["retryable"]))
    param = error["param"]
    return Reject(row.line, row.url, failure, None if param is None else str(param))


def _decide(
    connection: Connection,
    project_id: str,
    batch_id: str,
    decision: str,
    values: Mapping[str, object],
) -> bool:
    return bool(
        connection.execute(
            update(batches)
            .where(
                batches.c.id == batch_id,
                batches.c.project_id == project_id,
                batches.c.status.in_(DECISIONS[decision]),
                # A dry run has no tasks to be paused or retried.
                true() if decision == "cancel" else ~batches.c.dry_run,
            )
            .values(**values, updated=func.now())
        ).rowcount
    )
