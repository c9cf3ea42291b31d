"""Projects: where their files lie, and what they may take.

Invariants: no project's prefix lies within another's; ``stored_bytes`` is the sum of the files of a
project that has a limit of them, whatever completes or is deleted while the limit is set, since
that waits for those and keeps others waiting: each holds the project's row ``FOR KEY SHARE``, as a
foreign key's check does.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from ingest.errors import ConflictError
from ingest.ids import Prefix, make_id
from ingest.model import Limits, Project, Usage
from storage.records.asking import ask_one, write_query
from storage.records.tables import files, projects

_IS_PLACE_OF_ANOTHER = write_query("""
    SELECT EXISTS (
        SELECT FROM projects WHERE id <> :project_id AND key_prefix <> ''
            AND starts_with(:object_key || '/', key_prefix || '/')) AS is_place
""")
_HAS_FILES = text(
    "SELECT EXISTS (SELECT FROM names WHERE starts_with(object_key, :key_prefix || '/'))"
)
_HOLD = text("SELECT FROM projects WHERE id = :project_id FOR KEY SHARE")
# One statement, so that all of it is of one moment.
_READ_LIMITS = text("""
    SELECT max_running, max_stored_bytes, stored_bytes,
        (SELECT count(*) FROM tasks WHERE project_id = :project_id AND status = 'processing')
            AS running,
        (SELECT count(*) FROM tasks WHERE project_id = :project_id AND status = 'pending')
            AS pending,
        stored.files, stored.found_bytes
    FROM projects, LATERAL (
        SELECT count(*) AS files, CAST(coalesce(sum(filesize_bytes), 0) AS bigint) AS found_bytes
        FROM files WHERE project_id = :project_id
    ) AS stored
    WHERE projects.id = :project_id
""")
_GIVE_BACK = text("""
    UPDATE projects SET stored_bytes = stored_bytes - :size_bytes
    WHERE id = :project_id AND max_stored_bytes IS NOT NULL
""")


def ensure_project(connection: Connection, name: str = "default", key_prefix: str = "") -> Project:
    """Return the project of this name, making it first if there is none.

    Raises:
        NoResultFound: another project has this prefix.
    """
    connection.execute(
        upsert(projects)
        .values(id=make_id(Prefix.PROJECT), name=name, key_prefix=key_prefix)
        # Whoever makes it in the same moment is seen by its name or by its prefix, whichever is
        # compared first.
        .on_conflict_do_nothing()
    )
    return _to_project(connection.execute(select(projects).where(projects.c.name == name)).one())


def get(connection: Connection, project_id: str) -> Project:
    """Return the project of this id.

    Raises:
        NoResultFound: there is none.
    """
    return _to_project(
        connection.execute(select(projects).where(projects.c.id == project_id)).one()
    )


def is_place_of_another(connection: Connection, project_id: str, object_key: str) -> bool:
    """Return whether a key lies under the prefix of another project than this one.

    Prefixes never nest, but the first project's is empty: nothing else keeps it out of the rest.
    """
    given = {"project_id": project_id, "object_key": object_key}
    found: bool = ask_one(connection, _IS_PLACE_OF_ANOTHER, given).is_place
    return found


def list_places(connection: Connection, project_id: str) -> frozenset[str]:
    """Return the prefixes of the other projects that a key of this one may lie under by mistake.

    They are those that :func:`is_place_of_another` finds, for many keys.
    """
    query = select(projects.c.key_prefix).where(
        projects.c.id != project_id, projects.c.key_prefix != ""
    )
    return frozenset(connection.execute(query).scalars())


def create_project(connection: Connection, name: str, key_prefix: str, limits: Limits) -> Project:
    """Make a project whose files lie under a prefix of its own.

    Raises:
        ConflictError: its name or its prefix is taken, or there are names under it already.
    """
    taken = select(projects.c.name).where(
        (projects.c.name == name) | (projects.c.key_prefix == key_prefix)
    )
    found = connection.execute(taken).scalars().first()
    if found is not None:
        what = "the name" if found == name else "the prefix"
        raise ConflictError(f"Project '{found}' has {what} already.")
    if connection.execute(_HAS_FILES, {"key_prefix": key_prefix}).scalar_one():
        raise ConflictError(f"There are files of another project under '{key_prefix}/'.")
    project = ensure_project(connection, name, key_prefix)
    set_limits(connection, project.id, limits)
    return project


def find_project(connection: Connection, name: str) -> Project | None:
    """Return the project of a name or an id, or None."""
    row = connection.execute(
        select(projects).where((projects.c.name == name) | (projects.c.id == name))
    ).first()
    return None if row is None else _to_project(row)


def find_open(connection: Connection, project_id: str) -> tuple[Project, int | None] | None:
    """Return a project with the bytes that it may still store (None: any number), or None."""
    row = connection.execute(select(projects).where(projects.c.id == project_id)).one_or_none()
    if row is None:
        return None
    most = row.max_stored_bytes
    room_bytes = None if most is None else max(0, most - row.stored_bytes)
    return _to_project(row), room_bytes


def list_projects(connection: Connection) -> Sequence[Project]:
    """Return every project, the oldest first."""
    return [
        _to_project(row) for row in connection.execute(select(projects).order_by(projects.c.id))
    ]


def hold_alone(connection: Connection, project_id: str) -> None:
    """Let nobody else set the project's limits, complete or delete its files, or order more of
    them, before this transaction ends."""
    connection.execute(select(projects.c.id).where(projects.c.id == project_id).with_for_update())


def set_limits(connection: Connection, project_id: str, limits: Limits) -> None:
    """Set what a project may take from now on; what it has taken is counted anew."""
    hold_alone(connection, project_id)
    stored = select(func.coalesce(func.sum(files.c.filesize_bytes), 0)).where(
        files.c.project_id == project_id
    )
    # A statement of its own: it must see what was committed while the row was waited for.
    count = 0 if limits.max_stored_bytes is None else connection.execute(stored).scalar_one()
    connection.execute(
        update(projects)
        .where(projects.c.id == project_id)
        .values(
            max_running=limits.max_running,
            max_stored_bytes=limits.max_stored_bytes,
            stored_bytes=count,
        )
    )


def read_limits(connection: Connection, project_id: str) -> tuple[Limits, Usage]:
    """Return what a project may take, and what it has taken."""
    row = connection.execute(_READ_LIMITS, {"project_id": project_id}).one()
    stored_bytes = row.found_bytes if row.max_stored_bytes is None else row.stored_bytes
    return (
        Limits(row.max_running, row.max_stored_bytes),
        Usage(row.running, row.pending, row.files, stored_bytes),
    )


def hold(connection: Connection, project_id: str) -> None:
    """Let nobody set the project's limits before this transaction ends."""
    connection.execute(_HOLD, {"project_id": project_id})


def give_back(connection: Connection, project_id: str, size_bytes: int) -> None:
    """Note that a file is gone, in a transaction that has held the project since before."""
    connection.execute(_GIVE_BACK, {"project_id": project_id, "size_bytes": size_bytes})


def _to_project(row: Row[tuple[object, ...]]) -> Project:
    return Project(row.id, row.name, row.key_prefix)
