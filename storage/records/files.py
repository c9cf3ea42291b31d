"""Files: written by the transaction that completes their task, read by id, key or list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from ingest.events import EventType
from ingest.formats import Kind
from ingest.model import File, FileAccess, MediaInfo, Page
from storage.records import names, outbox, projects
from storage.records.asking import NamedRow, ask_all, write_query
from storage.records.listing import Window, read_page
from storage.records.tables import files

# How a column of media becomes the object, and the other way round.
MEDIA = TypeAdapter(MediaInfo)
_COLUMNS = ", ".join(files.columns.keys())
_GET_MANY = write_query(f"SELECT {_COLUMNS} FROM files WHERE id = ANY(:file_ids)")  # noqa: S608 - constants


def get(connection: Connection, project_id: str, file_id: str) -> File | None:
    """Return a project's file, or None where the project has no such file."""
    return _find(connection, files.c.id == file_id, files.c.project_id == project_id)


def lock(connection: Connection, project_id: str, file_id: str) -> File | None:
    """Return a project's file, which nobody else changes before this transaction ends."""
    query = select(files).where(files.c.id == file_id, files.c.project_id == project_id)
    row = connection.execute(query.with_for_update()).one_or_none()
    return None if row is None else to_file(row)


def get_many(connection: Connection, file_ids: Sequence[str]) -> Mapping[str, File]:
    """Return files by id; those that are gone are left out."""
    rows = ask_all(connection, _GET_MANY, {"file_ids": list(file_ids)})
    return {row.id: to_file(row) for row in rows}


def find_delivered(connection: Connection, *, file_id: str | None, object_key: str) -> File | None:
    """Return the file that a delivery path names: by its id if it has the shape of one, else by
    its key. Over all projects, since keys are unique in the bucket."""
    if file_id is not None:
        return _find(connection, files.c.id == file_id)
    return _find(connection, files.c.object_key == object_key)


def list_page(
    connection: Connection, project_id: str, kind: Kind | None, ref: str | None, window: Window
) -> Page[File]:
    """Return one page of a project's files, newest first."""
    conditions = [files.c.project_id == project_id]
    if kind is not None:
        conditions.append(files.c.kind == kind)
    if ref is not None:
        conditions.append(files.c.ref == ref)
    return read_page(connection, files, conditions, window, to_file)


@dataclass(frozen=True, slots=True)
class Removed:
    """A file whose row is gone: where its objects lie, and the size of its own."""

    stored_key: str
    poster_key: str | None
    filesize_bytes: int


def remove(connection: Connection, project_id: str, file_id: str) -> Removed | None:
    """Delete a file's row, give up its name, and tell of it.

    Returns:
        What is left of it: the caller deletes its objects before it commits, and then gives its
        size back (:func:`storage.records.projects.give_back`): not before, or all that the project
        completes would wait for the store. None if there is no such file.
    """
    projects.hold(connection, project_id)
    outbox.tell_file(connection, EventType.FILE_DELETED, project_id, file_id)
    row = connection.execute(
        delete(files)
        .where(files.c.id == file_id, files.c.project_id == project_id)
        .returning(
            files.c.task_id,
            files.c.object_key,
            files.c.lies_at,
            files.c.poster_key,
            files.c.filesize_bytes,
        )
    ).one_or_none()
    if row is None:
        return None
    names.give_up(connection, row.task_id, is_moving=row.lies_at is not None)
    return Removed(row.lies_at or row.object_key, row.poster_key, row.filesize_bytes)


def find_by_source(
    connection: Connection,
    project_id: str,
    source_sha256: str,
    source_etag: str,
    access: FileAccess,
) -> File | None:
    """Return the first of a project's files that came from a URL when that had a strong ETag, and
    that the same people may read."""
    return _find_first(
        connection,
        files.c.project_id == project_id,
        files.c.source_sha256 == source_sha256,
        files.c.source_etag == source_etag,
        files.c.access == access,
    )


def find_by_content(
    connection: Connection, project_id: str, sha256: str, access: FileAccess
) -> File | None:
    """Return the first of a project's files that has a SHA-256, in hex, and that the same people
    may read."""
    return _find_first(
        connection,
        files.c.project_id == project_id,
        files.c.sha256 == sha256,
        files.c.access == access,
    )


def find_named(connection: Connection, object_key: str) -> File | None:
    """Return the file that has a name, which nobody else changes before this transaction ends."""
    query = select(files).where(files.c.object_key == object_key)
    row = connection.execute(query.with_for_update()).one_or_none()
    return None if row is None else to_file(row)


def rename(
    connection: Connection, file: File, folder: str | None, filename: str | None, object_key: str
) -> None:
    """Call a file, which the caller has locked, something else; its object is to follow
    (:mod:`storage.records.moves`). Nobody is told of it yet.

    Raises:
        FileExists, ConflictError: as for :func:`storage.records.names.change`.
    """
    names.change(connection, file.project_id, file.task_id, file.object_key, object_key)
    connection.execute(
        update(files)
        .where(files.c.id == file.id)
        .values(
            folder=folder,
            filename=filename,
            object_key=object_key,
            lies_at=None if file.stored_key == object_key else file.stored_key,
        )
    )


def change(
    connection: Connection, project_id: str, file_id: str, values: Mapping[str, object]
) -> File | None:
    """Change what somebody may change of a file, and tell of it.

    Args:
        values: by column: ref, metadata, access.

    Returns:
        None if the project has no such file.
    """
    row = connection.execute(
        update(files)
        .where(files.c.id == file_id, files.c.project_id == project_id)
        .values(**values, updated=func.now())
        .returning(files)
    ).one_or_none()
    if row is None:
        return None
    outbox.tell_file(connection, EventType.FILE_UPDATED, project_id, file_id)
    return to_file(row)


def _find(connection: Connection, *conditions: ColumnElement[bool]) -> File | None:
    row = connection.execute(select(files).where(*conditions)).one_or_none()
    return None if row is None else to_file(row)


def _find_first(connection: Connection, *conditions: ColumnElement[bool]) -> File | None:
    query = select(files).where(*conditions).order_by(files.c.id).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else to_file(row)


def to_file(row: NamedRow) -> File:
    """Return what a whole row of ``files`` means."""
    return File(
        id=row.id,
        media_id=row.media_id,
        project_id=row.project_id,
        task_id=row.task_id,
        object_key=row.object_key,
        folder=row.folder,
        filename=row.filename,
        ref=row.ref,
        metadata=row.metadata,
        source=row.source,
        source_name=row.source_name,
        sha256=row.sha256,
        filesize_bytes=row.filesize_bytes,
        media=MEDIA.validate_python(row.media),
        created=row.created,
        updated=row.updated,
        lies_at=row.lies_at,
        source_sha256=row.source_sha256,
        source_etag=row.source_etag,
        # Events of older versions keep files without one.
        access=FileAccess(row.access or FileAccess.PUBLIC),
        poster_key=row.poster_key,
    )
