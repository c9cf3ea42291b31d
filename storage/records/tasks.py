"""Tasks: made, claimed under a lease, ended once.

Invariants:

- ``move`` is the only function that changes a task's state, and its guard is built from
  :data:`ingest.states.TRANSITIONS`; a move that the table does not hold matches no row.
- A claim raises ``attempt`` by one. The number is the fencing token: every later write of that
  attempt names it, so a worker whose lease was taken over changes nothing.
- Ending a task, its attempt, its File and the fate of its reserved name is one transaction, the
  caller's.
- Leases and waits are measured by the database's clock alone.

What is only read stands in ``lookups``, what happens to many leases at once in ``leases``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from ingest.errors import Cancelled, Failure, FileExists, HeadraceError
from ingest.ids import Prefix, make_id
from ingest.model import Lease, Order, Project, Task
from ingest.signed_urls import find_host
from ingest.states import Status, find_sources
from storage.records.lookups import to_task
from storage.records.tables import attempts, names, projects, tasks

# Written into SQL, not bound: a plan for any status could not use the partial indexes.
PENDING = literal(Status.PENDING.value, literal_execute=True)
PROCESSING = literal(Status.PROCESSING.value, literal_execute=True)

# A task that lost this many leases in a row may be what kills its workers.
_SUSPECT_AFTER = 2
# Namespaces of advisory locks: what is counted under them cannot change meanwhile.
_HOST_LOCK, _WORKER_LOCK = 1, 2


def create(
    connection: Connection,
    project: Project,
    order: Order,
    *,
    object_key: str | None,
    max_attempts: int,
    request_id: str,
    woken: bool,
    url_expires: datetime | None = None,
) -> Task:
    """Write down a promise, and reserve its name if it has one.

    Args:
        object_key: the key the file will have, or None where the file is named by its id.
        woken: whether the caller sends the wake-up itself, right after the commit.
        url_expires: when the order's signed URL ends.

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
            source_host=find_host(order.url),
            url_expires=url_expires,
            max_attempts=max_attempts,
            request_id=request_id,
            woken=func.now() if woken else None,
            **asdict(order),
        )
        .returning(tasks)
    ).one()
    if object_key is not None:
        reserve_name(connection, project.id, row.id, object_key)
    return to_task(row)


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
        select(tasks.c.source_host, is_suspect().label("suspect"))
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
    return Lease(to_task(row), key_prefix, row.attempt, worker)


def complete(connection: Connection, lease: Lease, transferred_bytes: int) -> bool:
    """End a task well. The caller inserts the File in the same transaction.

    Returns:
        False if the lease was lost; then nothing may be written.
    """
    values = {"finished": func.now(), "error": None}
    return _end(connection, lease, Status.COMPLETE, values, transferred_bytes, None)


def fail(
    connection: Connection,
    lease: Lease,
    error: HeadraceError,
    transferred_bytes: int,
    *,
    left_object: bool = False,
) -> bool:
    """End a task with its error, and free its name.

    Args:
        left_object: whether the attempt may have left an object behind.

    Returns:
        False if the lease was lost; then nothing was written.
    """
    failure = error.as_failure()
    values = {
        "finished": func.now(),
        "error": asdict(failure),
        "left_object": or_(tasks.c.left_object, literal(left_object)),
    }
    if not _end(connection, lease, Status.FAILED, values, transferred_bytes, failure):
        return False
    free_name(connection, lease.task.id)
    return True


def retry_later(
    connection: Connection,
    lease: Lease,
    error: HeadraceError,
    transferred_bytes: int,
    *,
    after_s: float,
    charged: bool,
    left_object: bool = False,
) -> bool:
    """Give a task back that failed for now, to be run again after ``after_s`` seconds.

    Args:
        charged: whether the attempt counts against ``max_attempts``; one that a service of ours
            ended does not, and begins an outage if there is none.
        left_object: as in :func:`fail`.

    Returns:
        False if the lease was lost; then nothing was written.
    """
    failure = error.as_failure()
    values = {
        "woken": None,
        "next_attempt_at": in_seconds(after_s),
        "error": asdict(failure),
        "lost": 0,
        "left_object": or_(tasks.c.left_object, literal(left_object)),
        "tries": tasks.c.tries if charged else tasks.c.tries - 1,
        "outage_since": None if charged else func.coalesce(tasks.c.outage_since, func.now()),
    }
    return _end(connection, lease, Status.PENDING, values, transferred_bytes, failure)


def cancel(connection: Connection, project_id: str, task_id: str) -> Task | None:
    """End a task that nobody wants any more, at once, and free its name.

    Its worker, if it has one, learns of it at its next heartbeat.

    Returns:
        None if the project has no such task, or it has ended already.
    """
    failure = Cancelled("Somebody cancelled the task.").as_failure()
    row = move(
        connection,
        task_id,
        Status.CANCELLED,
        project_id=project_id,
        values={
            "finished": func.now(),
            "lease_until": None,
            "next_attempt_at": None,
            "woken": None,
            # Its worker does not know yet.
            "left_object": or_(tasks.c.left_object, tasks.c.status == PROCESSING),
            "error": asdict(failure),
        },
    )
    if row is None:
        return None
    close_attempt(connection, task_id, row.attempt, None, failure)
    free_name(connection, task_id)
    return to_task(row)


def reopen(
    connection: Connection, project_id: str, task_id: str, object_key: str | None, *, woken: bool
) -> Task | None:
    """Give a failed or cancelled task another go, with all its attempts before it.

    Args:
        object_key: as in :func:`create`; the name is reserved again.
        woken: whether the caller sends the wake-up itself, right after the commit.

    Returns:
        None if the project has no such task, or it has not failed nor been cancelled.

    Raises:
        FileExists: the name was taken by somebody else meanwhile.
    """
    row = move(
        connection,
        task_id,
        Status.PENDING,
        sources=frozenset({Status.FAILED, Status.CANCELLED}),
        project_id=project_id,
        values={
            "tries": 0,
            "lost": 0,
            "outage_since": None,
            "next_attempt_at": None,
            "woken": func.now() if woken else None,
            "finished": None,
            "error": None,
        },
    )
    if row is None:
        return None
    if object_key is not None:
        reserve_name(connection, project_id, task_id, object_key)
    return to_task(row)


def change_url(
    connection: Connection, project_id: str, task_id: str, url: str, url_expires: datetime | None
) -> Task | None:
    """Give a task another URL for the same media; one that waits may run at once.

    An attempt that runs goes on with the old one.

    Returns:
        None if the project has no such task, or it is complete.
    """
    row = connection.execute(
        update(tasks)
        .where(
            tasks.c.id == task_id,
            tasks.c.project_id == project_id,
            tasks.c.status != Status.COMPLETE,
        )
        .values(
            url=url,
            source_host=find_host(url),
            url_expires=url_expires,
            next_attempt_at=None,
            updated=func.now(),
        )
        .returning(tasks)
    ).one_or_none()
    return None if row is None else to_task(row)


def move(
    connection: Connection,
    task_id: str,
    target: Status,
    *,
    values: Mapping[str, object],
    attempt: int | None = None,
    project_id: str | None = None,
    sources: frozenset[Status] | None = None,
) -> Row[tuple[object, ...]] | None:
    """Change a task's state, if the table of states allows it.

    Args:
        values: what else is written.
        attempt: the fencing token; None where the state alone decides.
        sources: narrows the states it may come from.

    Returns:
        The row as it is then, or None if nothing was changed.
    """
    allowed = find_sources(target)
    conditions = [
        tasks.c.id == task_id,
        tasks.c.status.in_(allowed if sources is None else allowed & sources),
    ]
    if attempt is not None:
        conditions.append(tasks.c.attempt == attempt)
    if project_id is not None:
        conditions.append(tasks.c.project_id == project_id)
    return connection.execute(
        update(tasks)
        .where(*conditions)
        .values(status=target, updated=func.now(), **values)
        .returning(tasks)
    ).one_or_none()


def close_attempt(
    connection: Connection,
    task_id: str,
    number: int,
    transferred_bytes: int | None,
    error: Failure | None,
) -> None:
    """Write down how an attempt ended, unless that is known already."""
    connection.execute(
        update(attempts)
        .where(
            attempts.c.task_id == task_id,
            attempts.c.number == number,
            attempts.c.finished.is_(None),
        )
        .values(
            finished=func.now(),
            transferred_bytes=transferred_bytes,
            error=None if error is None else asdict(error),
        )
    )


def free_name(connection: Connection, task_id: str) -> None:
    """Let others have the name a task had reserved."""
    connection.execute(delete(names).where(names.c.task_id == task_id))


def is_suspect() -> ColumnElement[bool]:
    """Return the condition that a task may be what kills its workers."""
    return and_(
        tasks.c.lost > 0, tasks.c.lost >= func.least(_SUSPECT_AFTER, tasks.c.max_attempts - 1)
    )


def in_seconds(seconds: float) -> ColumnElement[datetime]:
    """Return a time from now on, by the database's clock."""
    return func.now() + timedelta(seconds=seconds)


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


def _end(
    connection: Connection,
    lease: Lease,
    target: Status,
    values: Mapping[str, object],
    transferred_bytes: int,
    error: Failure | None,
) -> bool:
    ended = {"lease_until": None, **values}
    row = move(
        connection,
        lease.task.id,
        target,
        attempt=lease.attempt,
        # A cancelled task could move back to pending too, but not by its attempt.
        sources=frozenset({Status.PROCESSING}),
        values=ended,
    )
    if row is None:
        return False
    close_attempt(connection, lease.task.id, lease.attempt, transferred_bytes, error)
    return True
