"""Names that are taken, by files or by the tasks that will make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice

from sqlalchemy import Connection, select

from ingest.model import Project
from ingest.naming import make_key, number_name
from storage.records.tables import names

_LOOKED_AT_ONCE = 200
# So many files of one name, and the next one is refused.
_MOST_NUMBERS = 20_000


def find_holder(connection: Connection, project_id: str, object_key: str) -> str | None:
    """Return the id of the task that has reserved a key, or made its file; None if nobody has."""
    holder: str | None = connection.execute(
        select(names.c.task_id).where(
            names.c.object_key == object_key, names.c.project_id == project_id
        )
    ).scalar_one_or_none()
    return holder


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
