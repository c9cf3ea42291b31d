"""What people decide about a task: to cancel it, to try again, to fetch it from another URL."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, func, or_, select, update

from ingest.errors import Cancelled
from ingest.events import EventType
from ingest.model import Task
from ingest.signed_urls import find_host
from ingest.states import Status
from storage.records import names, outbox, tallies
from storage.records.lookups import to_task
from storage.records.tables import PROCESSING, tasks
from storage.records.tasks import close_attempt, move


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
    names.free(connection, task_id)
    outbox.tell_task(connection, EventType.TASK_CANCELLED, task_id)
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
    found = connection.execute(
        select(tasks.c.batch_id).where(tasks.c.id == task_id, tasks.c.project_id == project_id)
    ).one_or_none()
    if found is None:
        return None
    # Before the task's own row, as whoever decides about all of a batch.
    tallies.hold(connection, found.batch_id)
    before = connection.execute(
        select(tasks.c.status).where(tasks.c.id == task_id).with_for_update()
    ).scalar_one()
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
    tallies.tally(connection, row.batch_id, Status(before), -1)
    tallies.reopen(connection, row.batch_id)
    if object_key is not None:
        names.reserve(connection, project_id, task_id, object_key, overwrites=row.overwrites)
    outbox.tell_task(connection, EventType.TASK_RETRYING, task_id)
    return to_task(row)


def change_url(
    connection: Connection,
    project_id: str,
    task_id: str,
    url: str,
    url_expires: datetime | None,
    sealed_headers: bytes | None,
) -> Task | None:
    """Give a task another URL for the same media; one that waits may run at once.

    An attempt that runs goes on with the old one.

    Args:
        sealed_headers: those the new URL is asked with; the old ones are another's.

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
            sealed_headers=sealed_headers,
            next_attempt_at=None,
            updated=func.now(),
        )
        .returning(tasks)
    ).one_or_none()
    return None if row is None else to_task(row)
