"""Things that records can hold, made of as little as possible."""

from __future__ import annotations

from collections.abc import Callable

from ingest.formats import Kind
from ingest.model import File, Lease, MediaInfo, Task

# What the fixtures of the same names in lower case are; see conftest.py.
MakeTask = Callable[..., Task]
Claim = Callable[..., Lease]

MEDIA = MediaInfo(
    kind=Kind.VIDEO,
    type="video/mp4",
    container="mp4",
    extension="mp4",
    codec="h264",
    width=160,
    height=120,
    orientation="landscape",
    rotation=0,
    transparency=False,
    animated=None,
    frames=25,
    duration_s=1.0,
    fps=25.0,
    bitrate_bps=100_000,
    language=None,
    streams=[{"index": 0, "codec_type": "video"}],
)


def make_file(lease: Lease, media: MediaInfo = MEDIA) -> File:
    """Return the file that an attempt has made."""
    task = lease.task
    name = task.order.filename or f"{task.file_id}.mp4"
    return File(
        id=task.file_id,
        media_id=task.media_id,
        project_id=task.project_id,
        task_id=task.id,
        object_key=f"{lease.key_prefix}/{task.order.folder}/{name}",
        folder=task.order.folder,
        filename=task.order.filename,
        ref=task.order.ref,
        metadata=task.order.metadata,
        source=task.order.url,
        source_name="a.mp4",
        sha256="0" * 64,
        filesize_bytes=10,
        media=media,
        created=task.created,
        updated=task.updated,
    )
