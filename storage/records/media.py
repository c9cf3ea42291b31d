"""Media: files that belong together, by the id that they have in common."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, exists, select

from ingest.errors import FieldInvalid
from ingest.model import File, Page
from storage.records.files import to_file
from storage.records.listing import Window, read_page
from storage.records.tables import files

# Of one media; more of them are in the list of files.
MOST_SHOWN = 100
# Of each media in a list, which may have a hundred of them.
MOST_LISTED = 10


def list_page(connection: Connection, project_id: str, window: Window) -> Page[str]:
    """Return one page of the ids of a project's media, newest first."""
    found = (
        select(files.c.media_id.label("id"))
        .where(files.c.project_id == project_id)
        .distinct()
        .subquery("media")
    )
    return read_page(connection, found, [], window, lambda row: str(row.id))


def list_files(
    connection: Connection, project_id: str, media_id: str, most: int = MOST_SHOWN
) -> Sequence[File]:
    """Return the first files of a project's media, the oldest first; none for no such media."""
    query = (
        select(files)
        .where(files.c.media_id == media_id, files.c.project_id == project_id)
        .order_by(files.c.id)
        .limit(most)
    )
    return [to_file(row) for row in connection.execute(query)]


def is_known(connection: Connection, project_id: str, media_id: str) -> bool:
    """Return whether a project has files of a media."""
    query = select(exists().where(files.c.media_id == media_id, files.c.project_id == project_id))
    return bool(connection.execute(query).scalar_one())


def say_unknown() -> FieldInvalid:
    """Return the error of an order for a media that the project has not."""
    return FieldInvalid("'media_id' names no media of this project.", param="media_id")
