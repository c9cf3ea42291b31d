"""Checkpoints: which multipart uploads tasks have begun, and how far each is.

Invariants:

- A row is written before the store is asked to begin an upload, so whatever dies in between, its
  key is known and the upload can be found by listing that key.
- Only the attempt that has adopted an upload, and whose lease still holds, writes to its row.
- A row lives until its upload is completed or aborted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from ingest.model import Checkpoint, FinishedPart, Lease
from ingest.states import Status
from storage.records import moves
from storage.records.tables import names, parts, tasks, uploads


@dataclass(frozen=True, slots=True)
class DeadUpload:
    """An upload that no attempt will go on with; ``upload_id`` is None where nobody noted it."""

    task_id: str
    begun_by: int
    object_key: str
    upload_id: str | None


def plan(
    connection: Connection,
    lease: Lease,
    object_key: str,
    *,
    part_bytes: int,
    size_bytes: int | None,
    etag: str | None,
    head: bytes,
) -> bool:
    """Write down that this attempt is about to begin an upload.

    Returns:
        False if the lease was lost; then nothing may be begun.
    """
    values = {
        "task_id": lease.task.id,
        "begun_by": lease.attempt,
        "adopted_by": lease.attempt,
        "object_key": object_key,
        "part_bytes": part_bytes,
        "size_bytes": size_bytes,
        "etag": etag,
        "head": head,
    }
    columns = [uploads.c[name] for name in values]
    wanted = select(
        *(
            literal(value, column.type)
            for value, column in zip(values.values(), columns, strict=True)
        )
    ).where(_holds(lease))
    # Planned twice where the first commit was not answered.
    connection.execute(insert(uploads).from_select(columns, wanted).on_conflict_do_nothing())
    planned = exists().where(
        uploads.c.task_id == lease.task.id, uploads.c.begun_by == lease.attempt, _holds(lease)
    )
    return bool(connection.execute(select(planned)).scalar_one())


def note_begun(connection: Connection, lease: Lease, upload_id: str) -> bool:
    """Note the id of the upload that was planned; False if the lease was lost meanwhile."""
    noted = connection.execute(
        update(uploads)
        .where(
            uploads.c.task_id == lease.task.id,
            uploads.c.begun_by == lease.attempt,
            uploads.c.adopted_by == lease.attempt,
            _holds(lease),
        )
        .values(upload_id=upload_id)
    )
    return noted.rowcount == 1


def note_part(connection: Connection, lease: Lease, begun_by: int, part: FinishedPart) -> bool:
    """Note that the store has a part; False if the lease was lost."""
    columns = [
        parts.c.task_id,
        parts.c.begun_by,
        parts.c.number,
        parts.c.etag,
        parts.c.digests,
        parts.c.crc32c,
        parts.c.sent_by,
    ]
    wanted = select(
        uploads.c.task_id,
        uploads.c.begun_by,
        literal(part.number),
        literal(part.etag),
        literal(part.digests, parts.c.digests.type),
        literal(part.crc32c, parts.c.crc32c.type),
        literal(lease.attempt),
    ).where(
        uploads.c.task_id == lease.task.id,
        uploads.c.begun_by == begun_by,
        uploads.c.adopted_by == lease.attempt,
        _holds(lease),
    )
    adding = insert(parts).from_select(columns, wanted)
    added = connection.execute(
        adding.on_conflict_do_update(
            index_elements=["task_id", "begun_by", "number"],
            set_={
                "etag": adding.excluded.etag,
                "digests": adding.excluded.digests,
                "crc32c": adding.excluded.crc32c,
                "sent_by": adding.excluded.sent_by,
            },
        ).returning(parts.c.number)
    )
    return added.one_or_none() is not None


def find(connection: Connection, task_id: str) -> Checkpoint | None:
    """Return the latest upload a task has begun that another attempt could go on with, or None."""
    row = connection.execute(
        select(uploads)
        .where(uploads.c.task_id == task_id, uploads.c.upload_id.is_not(None))
        .order_by(uploads.c.begun_by.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    finished = connection.execute(
        select(parts.c.number, parts.c.etag, parts.c.digests, parts.c.crc32c)
        .where(parts.c.task_id == task_id, parts.c.begun_by == row.begun_by)
        .order_by(parts.c.number)
    )
    # Parts are sent side by side: what follows a gap was finished for nothing.
    whole = [
        FinishedPart(part.number, part.etag, part.digests, part.crc32c)
        for number, part in enumerate(finished, 1)
        if part.number == number
    ]
    return Checkpoint(
        object_key=row.object_key,
        upload_id=row.upload_id,
        begun_by=row.begun_by,
        part_bytes=row.part_bytes,
        size_bytes=row.size_bytes,
        etag=row.etag,
        head=row.head,
        parts=whole,
    )


def adopt(connection: Connection, lease: Lease, begun_by: int, keep_parts: int) -> bool:
    """Take over an upload that an earlier attempt has begun.

    Args:
        keep_parts: how many parts, from the first, are kept; the others are to be sent again.

    Returns:
        False if the lease was lost, or the upload is gone.
    """
    adopted = connection.execute(
        update(uploads)
        .where(
            uploads.c.task_id == lease.task.id,
            uploads.c.begun_by == begun_by,
            uploads.c.adopted_by <= lease.attempt,
            _holds(lease),
        )
        .values(adopted_by=lease.attempt)
    )
    if adopted.rowcount == 0:
        return False
    connection.execute(
        delete(parts).where(
            parts.c.task_id == lease.task.id,
            parts.c.begun_by == begun_by,
            parts.c.number > keep_parts,
        )
    )
    return True


def may_abort(connection: Connection, lease: Lease, begun_by: int) -> bool:
    """Return whether an upload is this attempt's to abort.

    That is so while its lease holds, and afterwards if the task was cancelled. A task whose lease
    was merely lost is another attempt's, and so is what it has begun.
    """
    own = (
        exists()
        .where(
            uploads.c.task_id == lease.task.id,
            uploads.c.begun_by == begun_by,
            uploads.c.adopted_by == lease.attempt,
        )
        .where(
            tasks.c.id == uploads.c.task_id,
            tasks.c.attempt == lease.attempt,
            tasks.c.status.in_([Status.PROCESSING, Status.CANCELLED]),
        )
    )
    return bool(connection.execute(select(own)).scalar_one())


def drop(connection: Connection, task_id: str, begun_by: int) -> None:
    """Delete the row of an upload that is completed or aborted, or will never be known."""
    connection.execute(
        delete(uploads).where(uploads.c.task_id == task_id, uploads.c.begun_by == begun_by)
    )


def list_dead(connection: Connection, keep_s: float, limit: int = 100) -> Sequence[DeadUpload]:
    """Return uploads that no attempt will go on with.

    Those are the uploads of complete and cancelled tasks; of failed ones after ``keep_s`` seconds,
    in which somebody may retry; and of open ones, what a later upload of the same task has
    replaced, and what was planned by an attempt that is over.
    """
    later = uploads.alias("later")
    later_one = exists().where(
        later.c.task_id == uploads.c.task_id, later.c.begun_by > uploads.c.begun_by
    )
    over = or_(tasks.c.status != Status.PROCESSING, tasks.c.attempt > uploads.c.begun_by)
    ended = or_(
        tasks.c.status.in_([Status.COMPLETE, Status.CANCELLED]),
        and_(
            tasks.c.status == Status.FAILED,
            tasks.c.finished < func.now() - timedelta(seconds=keep_s),
        ),
    )
    replaced = later_one.where(later.c.upload_id.is_not(None))
    # While a later one is planned under the same key, the two could not be told apart.
    unnoted = and_(
        uploads.c.upload_id.is_(None), over, ~later_one.where(later.c.upload_id.is_(None))
    )
    rows = connection.execute(
        select(
            uploads.c.task_id,
            uploads.c.begun_by,
            uploads.c.object_key,
            uploads.c.upload_id,
        )
        .join(tasks, tasks.c.id == uploads.c.task_id)
        .where(or_(ended, replaced, unnoted))
        .order_by(uploads.c.task_id, uploads.c.begun_by)
        .limit(limit)
    )
    return [DeadUpload(*row) for row in rows]


def list_known(connection: Connection, upload_ids: Sequence[str]) -> frozenset[str]:
    """Return those of the upload ids that some task's row names."""
    rows = connection.execute(
        select(uploads.c.upload_id).where(uploads.c.upload_id.in_(upload_ids))
    )
    return frozenset(rows.scalars())


def list_strange(connection: Connection, found: Mapping[str, str]) -> Sequence[str]:
    """Return those of the uploads found in the store that are ours and that no row accounts for.

    Ours are those under a key that a task or a file has, by name or by the file's id. A row that is
    planned and whose upload nobody noted yet accounts for whatever lies under its key.

    Args:
        found: object keys by upload id.
    """
    known = list_known(connection, list(found))
    keys = list(found.values())
    planned = select(uploads.c.object_key).where(
        uploads.c.object_key.in_(keys), uploads.c.upload_id.is_(None)
    )
    named = select(names.c.object_key).where(names.c.object_key.in_(keys))
    file_ids = {key: key.rpartition("/")[2].partition(".")[0] for key in keys}
    unnamed = select(tasks.c.file_id).where(tasks.c.file_id.in_(file_ids.values()))
    known_ids = set(connection.execute(unnamed).scalars())
    ours = set(connection.execute(named).scalars())
    ours |= {key for key, file_id in file_ids.items() if file_id in known_ids}
    ours -= set(connection.execute(planned).scalars())
    ours -= moves.list_moving(connection, keys)
    return [upload_id for upload_id, key in found.items() if upload_id not in known and key in ours]


def _holds(lease: Lease) -> ColumnElement[bool]:
    return exists().where(
        tasks.c.id == lease.task.id,
        tasks.c.status == Status.PROCESSING,
        tasks.c.attempt == lease.attempt,
    )
