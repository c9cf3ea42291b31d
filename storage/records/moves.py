"""Files whose objects follow their names: what is to be moved, and what is left behind.

A file is called otherwise at once, and its object follows: ``files.lies_at`` is where it still is.
Invariants: a name is left only once nobody reads the object under it, and is free only once that is
deleted; one mover at a time has the names of a task, for as long as its lease runs. What a mover
does late, after its lease, changes nothing that it did not find as it had left it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, or_, select, text, update

from ingest.model import File
from storage.records.files import to_file
from storage.records.tables import files, names, tasks
from storage.records.tasks import in_seconds

# A namespace of advisory locks, as those in ``claims``: one claims at a time, since several names
# of a task may be left.
_CLAIM_LOCK = 7
# Those that somebody has had come after the others: they may be what cannot be moved.
_CLAIM = text("""
    UPDATE names SET moving_until = now() + make_interval(secs => :lease_s),
        due_at = now() + make_interval(secs => :lease_s)
    WHERE object_key = ANY(ARRAY(
        SELECT object_key FROM names AS one
        WHERE leaves AND due_at <= now() AND NOT EXISTS (
            SELECT FROM names AS other
            WHERE other.task_id = one.task_id AND other.moving_until > now())
        ORDER BY due_at LIMIT 1))
    RETURNING task_id
""")
# What somebody moves is theirs, though it is due for others only later.
_IS_DUE = or_(names.c.due_at <= func.now(), names.c.moving_until > func.now())


@dataclass(frozen=True, slots=True)
class Move:
    """The names of a task that are left and to be cleared by now, and its file, if there is one.

    ``file_id`` is what its objects carry, whether there is a file or not.
    """

    task_id: str
    file_id: str
    file: File | None
    left_keys: Sequence[str]


def claim(connection: Connection, lease_s: float) -> str | None:
    """Take what is to be moved next; return the id of its task, or None if nothing is due."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_CLAIM_LOCK}, 0)"))
    task_id: str | None = connection.execute(_CLAIM, {"lease_s": lease_s}).scalar_one_or_none()
    return task_id


def read(connection: Connection, task_id: str) -> Move:
    """Return what is to be done for a task at this moment."""
    file_id = connection.execute(select(tasks.c.file_id).where(tasks.c.id == task_id)).scalar_one()
    row = connection.execute(select(files).where(files.c.task_id == task_id)).one_or_none()
    left = select(names.c.object_key).where(names.c.task_id == task_id, names.c.leaves, _IS_DUE)
    keys = connection.execute(left.order_by(names.c.object_key)).scalars().all()
    return Move(task_id, file_id, None if row is None else to_file(row), keys)


def note_moved(connection: Connection, file: File, kept_s: float) -> bool:
    """Note that a file's object is where its name is.

    Args:
        kept_s: for how long what it was moved from stays.

    Returns:
        False where the file has another name by now, or is gone.
    """
    moved = connection.execute(
        update(files)
        .where(
            files.c.id == file.id,
            files.c.lies_at == file.lies_at,
            files.c.object_key == file.object_key,
        )
        .values(lies_at=None)
    ).rowcount
    if not moved:
        return False
    connection.execute(
        update(names)
        .where(names.c.object_key == file.lies_at, names.c.task_id == file.task_id, names.c.leaves)
        .values(due_at=in_seconds(kept_s), moving_until=None)
    )
    return True


def hold_unnamed(connection: Connection, file_id: str, object_key: str) -> bool:
    """Let no file have a key before this transaction ends, if it is nobody's.

    Returns:
        False where the file lies there or is called so, or where somebody has the name: they see to
        what they find there.
    """
    query = select(files.c.object_key, files.c.lies_at).where(files.c.id == file_id)
    row = connection.execute(query.with_for_update()).one_or_none()
    if row is not None and object_key in {row.object_key, row.lies_at}:
        return False
    named = exists().where(names.c.object_key == object_key)
    return not connection.execute(select(named)).scalar_one()


def hold_left(connection: Connection, task_id: str, object_key: str) -> bool:
    """Let nobody take a name back that a task's file has left, until this transaction ends.

    Returns:
        False where it is not left any more, or was left anew and the file still lies there.
    """
    row = names.c.object_key == object_key, names.c.task_id == task_id, names.c.leaves
    query = select(names.c.object_key).where(*row).with_for_update()
    if connection.execute(query).one_or_none() is None:
        return False
    # Read once the name is held: another statement sees what was committed until then.
    lies_there = files.c.task_id == task_id, files.c.lies_at == object_key
    return not connection.execute(select(exists().where(*lies_there))).scalar_one()


def free(connection: Connection, task_id: str, object_key: str) -> None:
    """Let others have a name that was left, now that nothing lies there."""
    connection.execute(
        delete(names).where(
            names.c.object_key == object_key, names.c.task_id == task_id, names.c.leaves
        )
    )


def extend(connection: Connection, task_id: str, lease_s: float) -> None:
    """Keep the moves of a task for so much longer."""
    connection.execute(
        update(names)
        .where(names.c.task_id == task_id, names.c.moving_until > func.now())
        .values(moving_until=in_seconds(lease_s))
    )


def let_go(connection: Connection, task_id: str, after_s: float = 0) -> None:
    """Let others look after the names of a task: a file may be called by the one that was claimed
    again, and leave another.

    Args:
        after_s: how long the one that was claimed waits.
    """
    connection.execute(
        update(names)
        .where(names.c.task_id == task_id, names.c.moving_until.is_not(None))
        .values(moving_until=None, due_at=in_seconds(after_s))
    )


def list_moving(connection: Connection, object_keys: Sequence[str]) -> frozenset[str]:
    """Return those of the keys that an object is being moved to."""
    other = names.alias()
    rows = connection.execute(
        select(names.c.object_key)
        .join(other, other.c.task_id == names.c.task_id)
        .where(names.c.object_key.in_(object_keys), other.c.moving_until > func.now())
    )
    return frozenset(rows.scalars())
