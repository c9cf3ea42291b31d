"""Names: reserved, taken over, left, freed. A name is an object key that somebody has.

Invariants:

- A name has one holder: the task that will make its file, or has made it. The primary key is what
  keeps two from racing for it.
- One task at most is to take a name over, and only from a task whose file is there. Until it does,
  the name is the file's as before; if that goes, the name is handed to whoever waits for it.
- A name that its file has left is kept until the object under it is gone, so nobody stores anything
  there that could be taken for it.
- Whoever changes a file and its names locks the file first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from ingest.errors import ConflictError, FileExists
from ingest.model import Project
from ingest.naming import make_key, number_name
from storage.records.tables import names

_LOOKED_AT_ONCE = 200
# So many files of one name, and the next one is refused.
_MOST_NUMBERS = 20_000

# The condition under which a row of ``names`` may be taken over.
MAY_BE_TAKEN_OVER = """names.next_task_id IS NULL AND NOT names.leaves
    AND EXISTS (SELECT FROM files WHERE files.task_id = names.task_id)"""
# For a statement that has its tasks in a table `given`: `had` are all that have their names then.
# Of several that want one name the oldest has it, which of a list is the first.
RESERVED = f"""
    named AS (
        INSERT INTO names (object_key, project_id, task_id)
        SELECT object_key, :project_id, {{id}} FROM given WHERE object_key IS NOT NULL
        -- In one order, so that two statements with the same names do not wait for each other.
        ORDER BY object_key, {{id}}
        ON CONFLICT DO NOTHING
        RETURNING task_id
    ), taken_over AS (
        UPDATE names SET next_task_id = wanted.task_id FROM (
            SELECT names.object_key, first.task_id
            FROM (
                SELECT object_key, min({{id}}) AS task_id FROM given WHERE overwrites
                GROUP BY object_key
            ) AS first JOIN names USING (object_key)
            WHERE names.project_id = :project_id AND {MAY_BE_TAKEN_OVER}
            -- As with the names that are free.
            ORDER BY names.object_key FOR UPDATE OF names
        ) AS wanted
        WHERE names.object_key = wanted.object_key
        RETURNING names.next_task_id
    ), had AS (
        SELECT task_id FROM named UNION ALL SELECT next_task_id FROM taken_over
    )
"""  # noqa: S608 - constants
_TAKE_OVER = text(f"""
    UPDATE names SET next_task_id = :task_id
    WHERE object_key = :object_key AND project_id = :project_id AND {MAY_BE_TAKEN_OVER}
    RETURNING object_key
""")  # noqa: S608 - constants
_HAND_OVER = text("""
    UPDATE names SET task_id = next_task_id, next_task_id = NULL
    WHERE task_id = :task_id AND next_task_id IS NOT NULL
""")


def find_holder(connection: Connection, project_id: str, object_key: str) -> str | None:
    """Return the id of the task that has reserved a key, or made its file; None if nobody has."""
    holder: str | None = connection.execute(
        select(names.c.task_id).where(
            names.c.object_key == object_key, names.c.project_id == project_id, ~names.c.leaves
        )
    ).scalar_one_or_none()
    return holder


def reserve(
    connection: Connection,
    project_id: str,
    task_id: str,
    object_key: str,
    *,
    overwrites: bool = False,
) -> None:
    """Reserve an object key for a task.

    Args:
        overwrites: whether the task may take it over from a file.

    Raises:
        FileExists: somebody else has it, or takes it over already.
    """
    try:
        with connection.begin_nested():
            connection.execute(
                insert(names).values(object_key=object_key, project_id=project_id, task_id=task_id)
            )
    except IntegrityError as error:
        if not overwrites:
            raise explain_taken(object_key) from error
    else:
        return
    given = {"task_id": task_id, "object_key": object_key, "project_id": project_id}
    if connection.execute(_TAKE_OVER, given).one_or_none() is None:
        raise explain_made(object_key)


def explain_taken(object_key: str) -> FileExists:
    """Return the error of a name that somebody else has."""
    return FileExists(
        f"'{object_key}' is taken by another file or task; choose another folder or filename.",
        param="filename",
    )


def explain_made(object_key: str) -> FileExists:
    """Return the error of a name that is to be overwritten, and that a task is at."""
    return FileExists(
        f"'{object_key}' is what another task makes, or a file leaves, at this moment; it can be "
        "overwritten once that has ended.",
        param="filename",
    )


def free(connection: Connection, task_id: str) -> None:
    """Let others have the name that a task had reserved, or was to take over."""
    # First: whoever deletes the file may be handing the name over, and is waited for here.
    stop_waiting(connection, [task_id])
    connection.execute(delete(names).where(names.c.task_id == task_id))


def give_up(connection: Connection, task_id: str, *, is_moving: bool) -> None:
    """Give up the name of a file that is gone: to whoever waits for it, or to all.

    Args:
        is_moving: whether its object was on the way there; then the name is free when what may have
            arrived is deleted.
    """
    own = names.c.task_id == task_id
    # Somebody may be about to wait for it; a statement of its own sees who, once that is committed.
    connection.execute(select(names.c.object_key).where(own).with_for_update()).all()
    connection.execute(_HAND_OVER, {"task_id": task_id})
    if not is_moving:
        connection.execute(delete(names).where(own, ~names.c.leaves))
    connection.execute(update(names).where(own).values(leaves=True, due_at=func.now()))


def stop_waiting(connection: Connection, task_ids: Sequence[str]) -> None:
    """Let tasks wait for no other file's name any more."""
    connection.execute(
        update(names).where(names.c.next_task_id.in_(task_ids)).values(next_task_id=None)
    )


def change(connection: Connection, project_id: str, task_id: str, old: str, new: str) -> None:
    """Give a file, whose row the caller has locked, another name, and leave the old one.

    Raises:
        FileExists: somebody else has the new one.
        ConflictError: a task is about to replace the file.
    """
    waits = select(names.c.next_task_id).where(names.c.object_key == old).with_for_update()
    if connection.execute(waits).scalar_one() is not None:
        raise ConflictError("A task is about to replace the file; wait for it, or cancel it.")
    back = (
        update(names)
        .where(names.c.object_key == new, names.c.task_id == task_id)
        .values(leaves=False)
    )
    if not connection.execute(back).rowcount:
        reserve(connection, project_id, task_id, new)
    _leave(connection, old)


def take_over(connection: Connection, task_id: str, object_key: str) -> bool:
    """Let a task have the name it has waited for.

    Returns:
        Whether it was another's until now.

    Raises:
        FileExists: it is neither the task's own, nor does it wait for it.
    """
    row = connection.execute(
        select(names.c.task_id, names.c.next_task_id)
        .where(names.c.object_key == object_key)
        .with_for_update()
    ).one_or_none()
    if row is not None and row.task_id == task_id:
        return False
    if row is None or row.next_task_id != task_id:
        raise explain_taken(object_key)
    connection.execute(
        update(names)
        .where(names.c.object_key == object_key)
        .values(task_id=task_id, next_task_id=None)
    )
    return True


def note_object(connection: Connection, project_id: str, task_id: str, object_key: str) -> None:
    """Note that the object of a task's file lies under a key that is not to be its name.

    Raises:
        FileExists: somebody else has that key.
    """
    reserve(connection, project_id, task_id, object_key)
    _leave(connection, object_key)


def _leave(connection: Connection, object_key: str) -> None:
    connection.execute(
        update(names).where(names.c.object_key == object_key).values(leaves=True, due_at=func.now())
    )


def list_free(
    connection: Connection, project: Project, folder: str | None, filename: str, wanted: int
) -> Sequence[str]:
    """Return filenames like a taken one that nobody has at this moment.

    Args:
        wanted: how many; there may be fewer.

    Raises:
        FieldInvalid: with a number the key would be too long.
    """
    return list(islice(_find_free(connection, project, folder, filename), wanted))


def _find_free(
    connection: Connection, project: Project, folder: str | None, filename: str
) -> Iterator[str]:
    numbers = count(1)
    for _ in range(_MOST_NUMBERS // _LOOKED_AT_ONCE):
        some = [number_name(filename, number) for number in islice(numbers, _LOOKED_AT_ONCE)]
        keys = {make_key(project.key_prefix, folder, one): one for one in some}
        taken = select(names.c.object_key).where(names.c.object_key.in_(keys))
        found = set(connection.execute(taken).scalars())
        yield from (one for key, one in keys.items() if key not in found)
