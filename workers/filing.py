"""What an ingest makes is called and filed as: its key, the name a browser shows, the File."""

from __future__ import annotations

import hashlib

from ingest.model import File, Lease, MediaInfo
from ingest.naming import make_key
from ingest.urls import ObjectUrl, SourceUrl


def make_object_key(lease: Lease, extension: str) -> str:
    """Return where in the bucket an attempt's object goes: to its name, or to one of its own while
    that is another file's."""
    order = lease.task.order
    named = None if lease.replaces else _make_named_key(lease)
    return named or make_key(lease.key_prefix, order.folder, f"{lease.task.file_id}.{extension}")


def is_of_another(lease: Lease, key: str) -> bool:
    """Return whether a key is the name that is another file's until the task is complete."""
    return lease.replaces and key == _make_named_key(lease)


def _make_named_key(lease: Lease) -> str | None:
    """Return the key that the order names; None where it names none."""
    order = lease.task.order
    if order.filename is None:
        return None
    return make_key(lease.key_prefix, order.folder, order.filename)


def choose_shown_name(lease: Lease, source_name: str | None, extension: str) -> str:
    """Return what a browser saves the file as; ``source_name`` is what the source calls it."""
    return lease.task.order.filename or source_name or f"{lease.task.file_id}.{extension}"


def digest_source(url: str) -> str:
    """Return what a source's URL is known by: URLs may be long, and secret in part."""
    return hashlib.sha256(url.encode()).hexdigest()


def make_file(
    lease: Lease,
    url: SourceUrl | ObjectUrl,
    *,
    source_name: str | None,
    key: str,
    sha256: str | None,
    filesize_bytes: int,
    media: MediaInfo,
    poster_key: str | None,
    etag: str | None,
) -> File:
    """Return the File of a task whose object is stored and probed.

    Args:
        poster_key: where its poster lies, if it has one.
        etag: the source's strong validator, if it has one.
    """
    task, named = lease.task, _make_named_key(lease) or key
    return File(
        id=task.file_id,
        media_id=task.media_id,
        project_id=task.project_id,
        task_id=task.id,
        object_key=named,
        lies_at=None if key == named else key,
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
        source_sha256=None if etag is None else digest_source(task.order.url),
        source_etag=etag,
        access=task.order.access,
        poster_key=poster_key,
    )
