"""What workers have to do for batches: claimed, kept under a lease, put off, done.

Invariants: a claim raises ``attempt``, the fencing token, and the job that follows another of a
batch counts on from there; whoever writes what came of a job holds the batch's row and then the
job's, and finds its own attempt there, or writes nothing: so a list makes its tasks once, whoever
died or was taken for dead over it, and none once it was cancelled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import (
    ARRAY,
    Connection,
    Integer,
    Interval,
    String,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from ingest.batch_jobs import Job, JobKind
from ingest.batches import BatchStatus, Reject
from ingest.errors import HeadraceError
from ingest.events import EventType
from ingest.list_rows import ListFormat
from storage.records import outbox
from storage.records.batch_tables import batch_jobs, batch_sources, batches
from storage.records.batches import keep_rejects
from storage.records.tasks import in_seconds

# A namespace of advisory locks, as those in ``claims``: one claims at a time, so that what it
# counts stays so.
_CLAIM_LOCK = 7
# Of a project, of each kind: they hold up no other project's, and no check a list.
MOST_OF_PROJECT = 2
_IS_DUE = "next_attempt_at <= now() AND (lease_until IS NULL OR lease_until < now())"
_BEGIN = text(f"""
    SELECT CASE WHEN EXISTS (SELECT FROM batch_jobs WHERE {_IS_DUE})
        THEN pg_advisory_xact_lock({_CLAIM_LOCK}, 0) IS NOT NULL ELSE false END
""")  # noqa: S608 - constants
# Counted once, or each job of a long backlog would count anew. Who runs least comes first: else the
# backlog of one project goes before what another has ordered later, however many threads there are.
_CLAIM = text(f"""
    WITH running AS MATERIALIZED (
        SELECT project_id, kind, count(*) AS of_kind FROM batch_jobs
        WHERE lease_until >= now() GROUP BY project_id, kind
    ), free AS (
        SELECT batch_id FROM batch_jobs AS job LEFT JOIN (
                SELECT project_id, sum(of_kind) AS jobs,
                    array_agg(kind) FILTER (WHERE of_kind >= :most) AS full_kinds
                FROM running GROUP BY project_id
            ) AS busy USING (project_id)
        WHERE {_IS_DUE} AND kind = ANY(:kinds)
            AND kind <> ALL(coalesce(full_kinds, CAST('{{}}' AS varchar[])))
        ORDER BY coalesce(jobs, 0), next_attempt_at LIMIT 1 FOR UPDATE OF job SKIP LOCKED
    )
    UPDATE batch_jobs SET attempt = attempt + 1, tries = tries + 1, worker = :worker,
        lease_until = now() + :lease
    FROM batches WHERE batch_jobs.batch_id = (SELECT batch_id FROM free)
        AND batches.id = batch_jobs.batch_id
    RETURNING batch_jobs.*, batches.request_id, batches.dry_run
""").bindparams(  # noqa: S608 - constants
    bindparam("lease", type_=Interval), bindparam("kinds", type_=ARRAY(String))
)
_PAIRS = "SELECT * FROM unnest(:ids, :attempts) AS held (batch_id, attempt)"
_EXTEND = text(f"""
    UPDATE batch_jobs SET lease_until = now() + :lease FROM ({_PAIRS}) AS held
    WHERE batch_jobs.batch_id = held.batch_id AND batch_jobs.attempt = held.attempt
        AND lease_until IS NOT NULL
    RETURNING batch_jobs.batch_id, batch_jobs.attempt
""").bindparams(  # noqa: S608 - constants
    bindparam("lease", type_=Interval),
    bindparam("ids", type_=ARRAY(String)),
    bindparam("attempts", type_=ARRAY(Integer)),
)
_HAND_BACK = text(f"""
    UPDATE batch_jobs SET lease_until = NULL, next_attempt_at = now(), tries = tries - 1
    FROM ({_PAIRS}) AS held
    WHERE batch_jobs.batch_id = held.batch_id AND batch_jobs.attempt = held.attempt
        AND lease_until IS NOT NULL
""").bindparams(  # noqa: S608 - constants
    bindparam("ids", type_=ARRAY(String)), bindparam("attempts", type_=ARRAY(Integer))
)


def order_load(
    connection: Connection,
    project_id: str,
    batch_id: str,
    url: str,
    form: ListFormat | None,
    options: Mapping[str, object],
    *,
    sealed_headers: bytes | None,
    sealed_item_headers: bytes | None,
) -> None:
    """Have the list of a batch read by some worker."""
    connection.execute(
        insert(batch_jobs).values(
            batch_id=batch_id,
            project_id=project_id,
            kind=JobKind.LOAD,
            url=url,
            form=form,
            options=options,
            sealed_headers=sealed_headers,
            sealed_item_headers=sealed_item_headers,
        )
    )


def claim(
    connection: Connection, worker: str, lease_s: float, kinds: Collection[JobKind] = tuple(JobKind)
) -> Job | None:
    """Take the lease of a job of some kinds that is due, if there is one that may run now."""
    if not connection.execute(_BEGIN).scalar_one():
        return None
    row = connection.execute(
        _CLAIM,
        {
            "worker": worker,
            "lease": timedelta(seconds=lease_s),
            "kinds": list(kinds),
            "most": MOST_OF_PROJECT,
        },
    ).one_or_none()
    if row is None:
        return None
    return Job(
        batch_id=row.batch_id,
        project_id=row.project_id,
        kind=JobKind(row.kind),
        attempt=row.attempt,
        tries=row.tries,
        request_id=row.request_id,
        dry_run=row.dry_run,
        url=row.url,
        form=None if row.form is None else ListFormat(row.form),
        options=row.options,
        sealed_headers=row.sealed_headers,
        sealed_item_headers=row.sealed_item_headers,
    )


def extend(
    connection: Connection, held: Sequence[tuple[str, int]], lease_s: float
) -> Set[tuple[str, int]]:
    """Extend leases, given as batch and attempt; return those that were there to be extended."""
    rows = connection.execute(
        _EXTEND,
        {
            "ids": [batch_id for batch_id, _ in held],
            "attempts": [attempt for _, attempt in held],
            "lease": timedelta(seconds=lease_s),
        },
    )
    return {(row.batch_id, row.attempt) for row in rows}


def hand_back(connection: Connection, held: Sequence[tuple[str, int]]) -> int:
    """Let others go on with jobs at once, at no charge; return how many there were."""
    return connection.execute(
        _HAND_BACK,
        {"ids": [batch_id for batch_id, _ in held], "attempts": [number for _, number in held]},
    ).rowcount


def hold(connection: Connection, job: Job) -> bool:
    """Hold a job and its batch to the end of the transaction; return whether it is still one's."""
    connection.execute(select(batches.c.id).where(batches.c.id == job.batch_id).with_for_update())
    attempt = connection.execute(
        select(batch_jobs.c.attempt)
        .where(batch_jobs.c.batch_id == job.batch_id, batch_jobs.c.lease_until.is_not(None))
        .with_for_update()
    ).scalar_one_or_none()
    return attempt == job.attempt


def put_off(
    connection: Connection, job: Job, error: HeadraceError, after_s: float, *, charged: bool
) -> bool:
    """Have a job tried again later; return whether it was still one's."""
    if not hold(connection, job):
        return False
    connection.execute(
        update(batch_jobs)
        .where(batch_jobs.c.batch_id == job.batch_id)
        .values(
            lease_until=None,
            next_attempt_at=in_seconds(after_s),
            tries=batch_jobs.c.tries - (0 if charged else 1),
        )
    )
    if charged:
        _change(connection, job, list_error=asdict(error.as_failure()))
    return True


def fail(connection: Connection, job: Job, error: HeadraceError) -> bool:
    """End a batch whose job cannot be done, and tell that; return whether it was still one's.

    It is the answer of all sources that were not asked, too, whose headers nobody needs any more.
    """
    if not hold(connection, job):
        return False
    failure = asdict(error.as_failure())
    _drop(connection, job.batch_id)
    unasked = connection.execute(
        update(batch_sources)
        .where(batch_sources.c.batch_id == job.batch_id, batch_sources.c.status == "pending")
        .values(status="failed", error=failure, sealed_headers=None)
    ).rowcount
    _change(
        connection,
        job,
        status=BatchStatus.FAILED,
        list_error=failure,
        failed=batches.c.failed + unasked,
        finished=func.now(),
    )
    if not job.dry_run:
        outbox.tell_batch(connection, EventType.BATCH_FAILED, job.batch_id)
    return True


def finish_load(
    connection: Connection,
    job: Job,
    *,
    total: int,
    rejects: Sequence[Reject],
    rejected: int,
    is_over: bool,
) -> bool:
    """Say that the list of a batch was read, in the transaction that made its tasks.

    Args:
        is_over: whether nothing is left to be done: a dry run, and no source is to be asked.

    Returns:
        Whether the job was still one's. If not, nothing of that transaction may be kept.
    """
    if not hold(connection, job):
        return False
    _drop(connection, job.batch_id)
    keep_rejects(connection, job.batch_id, rejects)
    _change(
        connection,
        job,
        status=BatchStatus.COMPLETE if is_over else BatchStatus.PROCESSING,
        finished=func.now() if is_over else None,
        list_error=None,
        total=total,
        rejected=rejected,
        counted=func.now(),
    )
    if not job.dry_run:
        outbox.tell_batch(connection, EventType.BATCH_CREATED, job.batch_id)
    return True


def _drop(connection: Connection, batch_id: str) -> None:
    connection.execute(delete(batch_jobs).where(batch_jobs.c.batch_id == batch_id))


def _change(connection: Connection, job: Job, **values: object) -> None:
    connection.execute(
        update(batches).where(batches.c.id == job.batch_id).values(**values, updated=func.now())
    )
