"""Tasks that have ended, and of which an attempt may have left an object behind.

An object is stored before its task ends, so whatever comes between the two leaves one that no File
names: a worker that died or was cancelled, a store whose answer was lost. The next attempt deals
with what it finds in its way; what no attempt comes across is looked for once the task has ended.
Invariant: a task is marked in the transaction that makes an object possible that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Connection, exists, func, select, update

from ingest.states import ENDED
from storage.records.tables import files, projects, tasks, uploads
from storage.records.tasks import in_seconds


@dataclass(frozen=True, slots=True)
class EndedTask:
    """An ended task whose attempts, up to ``attempt``, may have left objects.

    ``kept_keys`` are the objects of its File, if it has one; with ``overwrites`` attempts may have
    stored theirs beside the name, and with ``poster`` one more.
    """

    task_id: str
    file_id: str
    attempt: int
    key_prefix: str
    folder: str | None
    filename: str | None
    kept_keys: Set[str]
    overwrites: bool
    poster: bool


def list_untidy(connection: Connection, after_s: float, limit: int = 100) -> Sequence[EndedTask]:
    """Return marked tasks that ended more than ``after_s`` seconds ago, the oldest first.

    Those with an upload that a retry may go on with are left out: what it became is theirs.
    """
    has_upload = exists().where(uploads.c.task_id == tasks.c.id)
    rows = connection.execute(
        select(
            tasks.c.id,
            tasks.c.file_id,
            tasks.c.attempt,
            projects.c.key_prefix,
            tasks.c.folder,
            tasks.c.filename,
            func.coalesce(files.c.lies_at, files.c.object_key).label("kept_key"),
            files.c.poster_key,
            tasks.c.overwrites,
            tasks.c.poster,
        )
        .join(projects, projects.c.id == tasks.c.project_id)
        .join(files, files.c.task_id == tasks.c.id, isouter=True)
        .where(tasks.c.left_object, tasks.c.finished < in_seconds(-after_s), ~has_upload)
        .order_by(tasks.c.finished)
        .limit(limit)
    )
    return [
        EndedTask(
            row.id,
            row.file_id,
            row.attempt,
            row.key_prefix,
            row.folder,
            row.filename,
            {key for key in (row.kept_key, row.poster_key) if key is not None},
            row.overwrites,
            row.poster,
        )
        for row in rows
    ]


def find_ends(connection: Connection, file_ids: Sequence[str]) -> Mapping[str, bool]:
    """Return whether the tasks that are to make these files have ended; without those of none."""
    rows = connection.execute(
        select(tasks.c.file_id, tasks.c.status.in_(ENDED).label("has_ended")).where(
            tasks.c.file_id.in_(file_ids)
        )
    )
    return {row.file_id: row.has_ended for row in rows}


def note_tidied(connection: Connection, ended: EndedTask) -> None:
    """Note that nothing is left of a task, unless it was taken up again meanwhile."""
    connection.execute(
        update(tasks)
        .where(
            tasks.c.id == ended.task_id,
            tasks.c.attempt == ended.attempt,
            tasks.c.status.in_(ENDED),
        )
        .values(left_object=False)
    )
