"""What an ingest makes is called and filed as: its key, the name a browser shows, the File."""

from __future__ import annotations

from ingest.model import File, Lease, MediaInfo
from ingest.naming import make_key
from ingest.urls import ObjectUrl, SourceUrl


def make_object_key(lease: Lease, extension: str) -> str:
    """Return where in the bucket a task's file goes."""
    order = lease.task.order
    filename = order.filename or f"{lease.task.file_id}.{extension}"
    return make_key(lease.key_prefix, order.folder, filename)


def choose_shown_name(lease: Lease, source_name: str | None, extension: str) -> str:
    """Return what a browser saves the file as; ``source_name`` is what the source calls it."""
    return lease.task.order.filename or source_name or f"{lease.task.file_id}.{extension}"


def make_file(
    lease: Lease,
    url: SourceUrl | ObjectUrl,
    *,
    source_name: str | None,
    key: str,
    sha256: str | None,
    filesize_bytes: int,
    media: MediaInfo,
) -> File:
    """Return the File of a task whose object is stored and probed."""
    task = lease.task
    return File(
        id=task.file_id,
        media_id=task.media_id,
        project_id=task.project_id,
        task_id=task.id,
        object_key=key,
        folder=task.order.folder,
        filename=task.order.filename,
        ref=task.order.ref,
        metadata=task.order.metadata,
        source=url.redacted,
        source_name=source_name,
        sha256=sha256,
        filesize_bytes=filesize_bytes,
        media=media,
        # The database fills in the times.
        created=task.created,
        updated=task.updated,
    )
