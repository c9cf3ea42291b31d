"""Tasks as they are read: one, a page, their attempts, counts. Nothing here changes a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, exists, func, or_, select

from ingest.errors import Failure
from ingest.model import Attempt, Dedupe, FileAccess, Lease, Order, Page, Task
from ingest.states import ENDED, Status
from storage.records.asking import NamedRow, ask, ask_all, write_query
from storage.records.listing import Window, read_page
from storage.records.tables import PROCESSING, attempts, files, tasks

# Named one by one: a plan that was prepared for `*` breaks when a migration adds a column.
COLUMNS = ", ".join(tasks.columns.keys())
_GET = write_query(f"SELECT {COLUMNS} FROM tasks WHERE id = :id AND project_id = :project_id")  # noqa: S608 - constants

_ATTEMPT_COLUMNS = ", ".join(attempts.columns.keys())
_LIST_ATTEMPTS = write_query(f"""
    SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE task_id = ANY(:task_ids)
    ORDER BY task_id, number
""")  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What ``GET /tasks`` may be narrowed to; None means any."""

    status: Status | None = None
    kind: str | None = None
    ref: str | None = None
    created_from: datetime | None = None
    created_until: datetime | None = None
    batch_id: str | None = None


def get(connection: Connection, project_id: str, task_id: str) -> Task | None:
    """Return a project's task, or None where the project has no such task."""
    row = ask(connection, _GET, {"id": task_id, "project_id": project_id})
    return None if row is None else to_task(row)


def is_left_behind(connection: Connection, file_id: str, object_key: str) -> bool:
    """Return whether an object that carries this file's id is nobody's: the task that was to make
    the file is ours and has ended, and the file is not there, or neither lies there nor is called
    so nor has its poster there.

    It is a leftover then: of a worker that died, or of a move.
    """
    has_it = exists().where(
        files.c.id == tasks.c.file_id,
        or_(
            files.c.object_key == object_key,
            files.c.lies_at == object_key,
            files.c.poster_key == object_key,
        ),
    )
    query = select(tasks.c.status.in_(ENDED) & ~has_it).where(tasks.c.file_id == file_id)
    return bool(connection.execute(query).scalar_one_or_none())


def read_end(connection: Connection, lease: Lease) -> Status | None:
    """Return how a task ended under this attempt; None if it goes on, by this or by another."""
    query = select(tasks.c.status).where(
        tasks.c.id == lease.task.id, tasks.c.attempt == lease.attempt, tasks.c.status.in_(ENDED)
    )
    status = connection.execute(query).scalar_one_or_none()
    return None if status is None else Status(status)


def count_running(connection: Connection, source_host: str) -> int:
    """Return how many attempts run whose sources are at a host."""
    return connection.execute(
        select(func.count()).where(tasks.c.status == PROCESSING, tasks.c.source_host == source_host)
    ).scalar_one()


def list_attempts(
    connection: Connection, task_ids: Sequence[str]
) -> Mapping[str, Sequence[Attempt]]:
    """Return the attempts of several tasks, oldest first, by task id."""
    found: dict[str, list[Attempt]] = {task_id: [] for task_id in task_ids}
    for row in ask_all(connection, _LIST_ATTEMPTS, {"task_ids": list(task_ids)}):
        found[row.task_id].append(to_attempt(row))
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
        (tasks.c.batch_id, narrowed.batch_id),
    ):
        if value is not None:
            conditions.append(column == value)
    if narrowed.created_from is not None:
        conditions.append(tasks.c.created >= narrowed.created_from)
    if narrowed.created_until is not None:
        conditions.append(tasks.c.created < narrowed.created_until)
    return read_page(connection, tasks, conditions, window, to_task)


def count_by_status(connection: Connection) -> Mapping[Status, int]:
    """Return how many tasks there are in each state, over all projects."""
    counts = dict.fromkeys(Status, 0)
    query = select(tasks.c.status, func.count()).group_by(tasks.c.status)
    for status, count in connection.execute(query):
        counts[Status(status)] = count
    return counts


def to_failure(stored: Mapping[str, object] | None) -> Failure | None:
    """Return what a column of an error means."""
    if stored is None:
        return None
    return Failure(str(stored["code"]), str(stored["message"]), bool(stored["retryable"]))


def to_attempt(row: NamedRow) -> Attempt:
    """Return what a whole row of ``attempts`` means."""
    return Attempt(
        number=row.number,
        worker=row.worker,
        started=row.started,
        finished=row.finished,
        transferred_bytes=row.transferred_bytes,
        error=to_failure(row.error),
    )


def to_task(row: NamedRow) -> Task:
    """Return what a whole row of ``tasks`` means."""
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
            priority=row.priority,
            sealed_headers=row.sealed_headers,
            webhook_url=row.webhook_url,
            overwrites=bool(row.overwrites),
            dedupe=Dedupe(row.dedupe or Dedupe.NONE),
            access=FileAccess(row.access or FileAccess.PUBLIC),
            poster=bool(row.poster),
        ),
        file_id=row.file_id,
        media_id=row.media_id,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        error=to_failure(row.error),
        request_id=row.request_id,
        created=row.created,
        started=row.started,
        finished=row.finished,
        updated=row.updated,
        tries=row.tries,
        next_attempt_at=row.next_attempt_at,
        outage_since=row.outage_since,
        batch_id=row.batch_id,
        batch_line=row.batch_line,
        duplicate_of=row.duplicate_of,
    )
