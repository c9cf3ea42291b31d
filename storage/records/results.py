"""What became of each task of a batch, in the order of its list, some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from ingest.errors import Failure
from ingest.model import File
from ingest.states import Status
from storage.records import files
from storage.records.lookups import to_failure
from storage.records.tables import tasks


@dataclass(frozen=True, slots=True)
class Result:
    """A task of a batch, and its file once it is complete."""

    line: int
    task_id: str
    status: Status
    url: str
    folder: str | None
    filename: str | None
    ref: str | None
    attempts: int
    error: Failure | None
    finished: datetime | None
    file: File | None


def read_results(
    connection: Connection, batch_id: str, after_id: str, limit: int
) -> Sequence[Result]:
    """Return tasks of a batch from behind an id on; ids of a batch are in the order of its list."""
    query = (
        select(
            tasks.c.id,
            tasks.c.batch_line,
            tasks.c.status,
            tasks.c.url,
            tasks.c.folder,
            tasks.c.filename,
            tasks.c.ref,
            tasks.c.attempt,
            tasks.c.error,
            tasks.c.finished,
            func.coalesce(tasks.c.duplicate_of, tasks.c.file_id).label("output_id"),
        )
        .where(tasks.c.batch_id == batch_id, tasks.c.id > after_id)
        .order_by(tasks.c.id)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    done = [row.output_id for row in rows if row.status == Status.COMPLETE]
    found = files.get_many(connection, done) if done else {}
    return [
        Result(
            line=row.batch_line,
            task_id=row.id,
            status=Status(row.status),
            url=row.url,
            folder=row.folder,
            filename=row.filename,
            ref=row.ref,
            attempts=row.attempt,
            error=to_failure(row.error),
            finished=row.finished,
            file=found.get(row.output_id) if row.status == Status.COMPLETE else None,
        )
        for row in rows
    ]
