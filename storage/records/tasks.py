"""Tasks: made, claimed under a lease, ended once.

Invariants:

- ``_move`` is the only function that changes a task's state, and its guard is built from
  :data:`ingest.states.TRANSITIONS`; a move that the table does not hold matches no row.
- A claim raises ``attempt`` by one. The number is the fencing token: every later write of that
  attempt names it, so a worker whose lease was taken over changes nothing.
- Ending a task, its attempt, its File and the fate of its reserved name is one transaction, the
  caller's.
- Leases are measured by the database's clock alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from ingest.errors import AttemptsExhausted, Failure, FileExists, HeadraceError, LeaseLost
from ingest.ids import Prefix, make_id
from ingest.model import Attempt, Lease, Order, Page, Project, Task
from ingest.states import Status, find_sources
from storage.records.listing import Window, read_page
from storage.records.tables import attempts, names, projects, tasks

# Written into the SQL, not bound: a plan for any status could not use the partial indexes.
_PENDING = literal(Status.PENDING.value, literal_execute=True)
_PROCESSING = literal(Status.PROCESSING.value, literal_execute=True)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What ``GET /tasks`` may be narrowed to; None means any."""

    status: Status | None = None
    kind: str | None = None
    ref: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None


def create(
    connection: Connection,
    project: Project,
    order: Order,
    *,
    object_key: str | None,
    max_attempts: int,
    request_id: str,
    woken: bool,
) -> Task:
    """Write down a promise, and reserve its name if it has one.

    Args:
        object_key: the key the file will have, or None where the file is named by its id.
        woken: whether the caller sends the wake-up itself, right after the commit.

    Raises:
        FileExists: the name is taken by a file or by another task.
    """
    row = connection.execute(
        insert(tasks)
        .values(
            id=make_id(Prefix.TASK),
            project_id=project.id,
            kind="ingest",
            file_id=make_id(Prefix.FILE),
            media_id=make_id(Prefix.MEDIA),
            max_attempts=max_attempts,
            request_id=request_id,
            woken=func.now() if woken else None,
            **asdict(order),
        )
        .returning(tasks)
    ).one()
    if object_key is not None:
        reserve_name(connection, project.id, row.id, object_key)
    return _to_task(row)


def reserve_name(connection: Connection, project_id: str, task_id: str, object_key: str) -> None:
    """Reserve an object key for a task.

    Raises:
        FileExists: somebody else has it.
    """
    try:
        with connection.begin_nested():
            connection.execute(
                insert(names).values(object_key=object_key, project_id=project_id, task_id=task_id)
            )
    except IntegrityError as error:
        raise FileExists(
            f"'{object_key}' is taken by another file or task; choose another folder or filename.",
            param="filename",
        ) from error


def get(connection: Connection, project_id: str, task_id: str) -> Task | None:
    """Return a project's task, or None where the project has no such task."""
    row = connection.execute(
        select(tasks).where(tasks.c.id == task_id, tasks.c.project_id == project_id)
    ).one_or_none()
    return None if row is None else _to_task(row)


def left_nothing(connection: Connection, file_id: str) -> bool:
    """Return whether the task that was to make this file is ours and ended without making it.

    What lies in the bucket under such an id is a leftover of a worker that died.
    """
    query = select(tasks.c.status).where(tasks.c.file_id == file_id)
    status = connection.execute(query).scalar_one_or_none()
    return status in {Status.FAILED, Status.CANCELLED}


def list_attempts(
    connection: Connection, task_ids: Sequence[str]
) -> Mapping[str, Sequence[Attempt]]:
    """Return the attempts of several tasks, oldest first, by task id."""
    found: dict[str, list[Attempt]] = {task_id: [] for task_id in task_ids}
    query = (
        select(attempts)
        .where(attempts.c.task_id.in_(task_ids))
        .order_by(attempts.c.task_id, attempts.c.number)
    )
    for row in connection.execute(query):
        found[row.task_id].append(_to_attempt(row))
    return found


def list_page(
    connection: Connection, project_id: str, narrowed: TaskFilter, window: Window
) -> Page[Task]:
    """Return one page of a project's tasks, newest first."""
    conditions: list[ColumnElement[bool]] = [tasks.c.project_id == project_id]
    for column, value in (
        (tasks.c.status, narrowed.status),
        (tasks.c.kind, narrowed.kind),
        (tasks.c.ref, narrowed.ref),
    ):
        if value is not None:
            conditions.append(column == value)
    if narrowed.created_from is not None:
        conditions.append(tasks.c.created >= narrowed.created_from)
    if narrowed.created_until is not None:
        conditions.append(tasks.c.created < narrowed.created_until)
    return read_page(connection, tasks, conditions, window, _to_task)


def count_by_status(connection: Connection) -> Mapping[Status, int]:
    """Return how many tasks there are in each state, over all projects."""
    counts = dict.fromkeys(Status, 0)
    query = select(tasks.c.status, func.count()).group_by(tasks.c.status)
    for status, count in connection.execute(query):
        counts[Status(status)] = count
    return counts


def claim(connection: Connection, task_id: str, worker: str, lease_s: float) -> Lease | None:
    """Take the lease of a pending task; None means there is no work (late or doubled wake-up)."""
    row = _move(
        connection,
        task_id,
        Status.PROCESSING,
        values={
            "attempt": tasks.c.attempt + 1,
            "worker": worker,
            "lease_until": _in_seconds(lease_s),
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
    return Lease(_to_task(row), key_prefix, row.attempt, worker)


def extend_leases(
    connection: Connection, held: Sequence[tuple[str, int]], lease_s: float
) -> frozenset[tuple[str, int]]:
    """Extend the leases that are still held.

    Args:
        held: pairs of task id and attempt.

    Returns:
        The pairs that were extended; those left out have lost their lease.
    """
    rows = connection.execute(
        update(tasks)
        .where(
            tasks.c.status == Status.PROCESSING,
            tuple_(tasks.c.id, tasks.c.attempt).in_(held),
        )
        .values(lease_until=_in_seconds(lease_s))
        .returning(tasks.c.id, tasks.c.attempt)
    )
    return frozenset((row.id, row.attempt) for row in rows)


def complete(connection: Connection, lease: Lease, transferred_bytes: int) -> bool:
    """End a task well. The caller inserts the File in the same transaction.

    Returns:
        False if the lease was lost; then nothing may be written.
    """
    return _end(connection, lease, Status.COMPLETE, transferred_bytes, None)


def fail(
    connection: Connection, lease: Lease, error: HeadraceError, transferred_bytes: int
) -> bool:
    """End a task with its error, and free its name.

    Returns:
        False if the lease was lost; then nothing was written.
    """
    if not _end(connection, lease, Status.FAILED, transferred_bytes, error.as_failure()):
        return False
    connection.execute(delete(names).where(names.c.task_id == lease.task.id))
    return True


def pick_wakeable(connection: Connection, limit: int, resend_after_s: float) -> Sequence[str]:
    """Choose pending tasks to wake, oldest first, and note that they were.

    A task whose last wake-up is younger than ``resend_after_s`` is left alone. Any number of
    dispatchers may call this at once: rows locked by another are skipped.
    """
    due = (
        select(tasks.c.id)
        .where(
            tasks.c.status == _PENDING,
            (tasks.c.woken.is_(None)) | (tasks.c.woken < _in_seconds(-resend_after_s)),
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


def release_expired(connection: Connection, limit: int = 100) -> Mapping[str, Status]:
    """Take tasks back from workers that fell silent: to pending, or to failed after the last try.

    Any number of sweepers may call this at once.

    Returns:
        What became of each, by task id.
    """
    expired = connection.execute(
        select(tasks.c.id, tasks.c.attempt, tasks.c.max_attempts)
        .where(tasks.c.status == _PROCESSING, tasks.c.lease_until < func.now())
        .order_by(tasks.c.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    lost = LeaseLost("The worker fell silent and its lease ran out.").as_failure()
    outcome: dict[str, Status] = {}
    for row in expired:
        last = row.attempt >= row.max_attempts
        target = Status.FAILED if last else Status.PENDING
        error = AttemptsExhausted(
            f"The worker was lost on each of {row.attempt} attempts."
        ).as_failure()
        _move(
            connection,
            row.id,
            target,
            attempt=row.attempt,
            values={
                "lease_until": None,
                "woken": None,
                "error": asdict(error if last else lost),
                **({"finished": func.now()} if last else {}),
            },
        )
        _close_attempt(connection, row.id, row.attempt, None, lost)
        if last:
            connection.execute(delete(names).where(names.c.task_id == row.id))
        outcome[row.id] = target
    return outcome


def _end(
    connection: Connection,
    lease: Lease,
    target: Status,
    transferred_bytes: int,
    error: Failure | None,
) -> bool:
    row = _move(
        connection,
        lease.task.id,
        target,
        attempt=lease.attempt,
        values={
            "lease_until": None,
            "finished": func.now(),
            "error": None if error is None else asdict(error),
        },
    )
    if row is None:
        return False
    _close_attempt(connection, lease.task.id, lease.attempt, transferred_bytes, error)
    return True


def _close_attempt(
    connection: Connection,
    task_id: str,
    number: int,
    transferred_bytes: int | None,
    error: Failure | None,
) -> None:
    connection.execute(
        update(attempts)
        .where(attempts.c.task_id == task_id, attempts.c.number == number)
        .values(
            finished=func.now(),
            transferred_bytes=transferred_bytes,
            error=None if error is None else asdict(error),
        )
    )


def _move(
    connection: Connection,
    task_id: str,
    target: Status,
    *,
    values: Mapping[str, object],
    attempt: int | None = None,
) -> Row[tuple[object, ...]] | None:
    conditions = [tasks.c.id == task_id, tasks.c.status.in_(find_sources(target))]
    if attempt is not None:
        conditions.append(tasks.c.attempt == attempt)
    return connection.execute(
        update(tasks)
        .where(*conditions)
        .values(status=target, updated=func.now(), **values)
        .returning(tasks)
    ).one_or_none()


def _in_seconds(seconds: float) -> ColumnElement[datetime]:
    return func.now() + timedelta(seconds=seconds)


def _to_failure(stored: Mapping[str, object] | None) -> Failure | None:
    if stored is None:
        return None
    return Failure(str(stored["code"]), str(stored["message"]), bool(stored["retryable"]))


def _to_attempt(row: Row[tuple[object, ...]]) -> Attempt:
    return Attempt(
        number=row.number,
        worker=row.worker,
        started=row.started,
        finished=row.finished,
        transferred_bytes=row.transferred_bytes,
        error=_to_failure(row.error),
    )


def _to_task(row: Row[tuple[object, ...]]) -> Task:
    return Task(
        id=row.id,
        project_id=row.project_id,
        kind=row.kind,
        status=Status(row.status),
        order=Order(
            url=row.url,
            folder=row.folder,
            filename=row.filename,
            ref=row.ref,
            metadata=row.metadata,
            checksum=row.checksum,
            max_bytes=row.max_bytes,
        ),
        file_id=row.file_id,
        media_id=row.media_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        error=_to_failure(row.error),
        request_id=row.request_id,
        created=row.created,
        started=row.started,
        finished=row.finished,
        updated=row.updated,
    )
