"""Tasks: made, moved from state to state, ended once.

Invariants:

- A task's state is changed by ``move``, and by the statements of ``claims`` and ``completions``.
  The guard of each comes from :data:`ingest.states.TRANSITIONS`: a move that the table does not
  hold matches no row.
- Every write of an attempt names its number, the fencing token, so a worker whose lease was taken
  over changes nothing.
- Ending a task, its attempt, its File, the fate of its reserved name and the event that tells of
  it is one transaction, the caller's; so is every other change of state with its event.
- Leases and waits are measured by the database's clock alone.

What is only read stands in ``lookups``, how leases are taken in ``claims``, how tasks end well in
``completions``, what happens to many of them at once in ``leases``, what people decide in
``decisions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    func,
    literal,
    or_,
    update,
)

from ingest.errors import Failure, HeadraceError
from ingest.events import EventType
from ingest.ids import Prefix, make_id
from ingest.model import Lease, Order, Project, Task
from ingest.signed_urls import find_host
from ingest.states import ENDED, Status, find_sources
from storage.records import names, outbox, tallies
from storage.records.asking import ask_one, write_query
from storage.records.lookups import COLUMNS, to_task
from storage.records.tables import attempts, tasks

_ORDERED = (
    *Order.__slots__, "project_id", "id", "kind", "file_id", "source_host",
    "url_expires", "max_attempts", "request_id",
)  # fmt: skip
_CREATE = write_query(f"""
    WITH made AS (
        INSERT INTO tasks ({", ".join(_ORDERED)}, woken)
        VALUES ({", ".join(f":{name}" for name in _ORDERED)},
            CASE WHEN :wakes THEN now() END)
        RETURNING {COLUMNS}
    ), told AS (
        SELECT CAST(:event_id AS varchar) AS id, project_id,
            {outbox.write_type(EventType.TASK_CREATED)},
            id AS subject_id,
            jsonb_build_object('task', {outbox.snapshot_task("made")}) AS snapshot,
            NULL AS webhook_url
        FROM made
    ), {outbox.DELIVER}
    SELECT {COLUMNS} FROM made
""")  # noqa: S608 - constants


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
    file_id: str | None = None,
) -> Task:
    """Write down a promise, and reserve its name if it has one.

    Args:
        object_key: the key the file will have, or None where the file is named by its id.
        woken: whether the caller sends the wake-up itself, right after the commit.
        url_expires: when the order's signed URL ends.
        file_id: that of the file it is to make; None for a new one.

    Raises:
        FileExists: the name is taken by a file or by another task.
    """
    row = ask_one(
        connection,
        _CREATE,
        {
            "id": make_id(Prefix.TASK),
            "project_id": project.id,
            "kind": "ingest",
            "file_id": file_id or make_id(Prefix.FILE),
            "source_host": find_host(order.url),
            "url_expires": url_expires,
            "max_attempts": max_attempts,
            "request_id": request_id,
            "wakes": woken,
            "event_id": outbox.make_event_id(),
            **{name: getattr(order, name) for name in Order.__slots__},
            "metadata": None if order.metadata is None else Jsonb(order.metadata),
            "media_id": order.media_id or make_id(Prefix.MEDIA),
        },
    )
    if object_key is not None:
        names.reserve(connection, project.id, row.id, object_key, overwrites=order.overwrites)
    return to_task(row)


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
    names.free(connection, lease.task.id)
    outbox.tell_task(connection, EventType.TASK_FAILED, lease.task.id)
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
    if not _end(connection, lease, Status.PENDING, values, transferred_bytes, failure):
        return False
    outbox.tell_task(connection, EventType.TASK_RETRYING, lease.task.id)
    return True


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
    row = connection.execute(
        update(tasks)
        .where(*conditions)
        .values(status=target, updated=func.now(), **values)
        .returning(tasks)
    ).one_or_none()
    if row is not None and target in ENDED:
        tallies.tally(connection, row.batch_id, target)
    return row


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


def in_seconds(seconds: float) -> ColumnElement[datetime]:
    """Return a time from now on, by the database's clock."""
    return func.now() + timedelta(seconds=seconds)


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
