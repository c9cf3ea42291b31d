"""The things Headrace speaks of, as frozen values.

A model is what a row means, not what JSON shows (``api.schemas``) nor how it is stored
(``storage.records.tables``). Sizes are bytes, times are aware UTC datetimes, durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from ingest.errors import Failure
from ingest.formats import Kind
from ingest.states import Status

# What JSON can hold. `object` at the leaves keeps readers honest: they must check before use.
JsonObject = Mapping[str, object]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Project:
    """A tenant. ``key_prefix`` leads every object key of it; prefixes never nest."""

    id: str
    name: str
    key_prefix: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a project may take: tasks that run at once, bytes of its files. None: any number."""

    max_running: int | None = None
    max_stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a project takes: its tasks that run and that wait, its files and their bytes."""

    running: int
    pending: int
    files: int
    stored_bytes: int


class IfExists(StrEnum):
    """What becomes of an order whose name is taken: nothing, another name, the place of the file
    that has it, or what is there."""

    ERROR = "error"
    RENAME = "rename"
    OVERWRITE = "overwrite"
    SKIP = "skip"


class FileAccess(StrEnum):
    """Who may read a file's bytes: whoever has its address, or who has one that was signed."""

    PUBLIC = "public"
    SIGNED = "signed"


class Dedupe(StrEnum):
    """By what an order is known to be of a file that is there: nothing, its source, its bytes."""

    NONE = "none"
    URL = "url"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asked to be ingested, checked and normalised.

    ``checksum`` is ``algorithm:hex``; ``max_bytes`` is the caller's own limit; of two tasks the one
    with the higher ``priority`` (-10 to 10) runs first; ``sealed_headers`` are sent to the source
    (:mod:`ingest.source_headers`), and can be read by whoever has the keys alone; ``webhook_url``
    is told how the task ended; ``media_id`` is the media that the file is to belong to (None: a new
    one), and stands in the task from there on. With ``overwrites`` the file takes the place of the
    one that has its name; with ``dedupe`` none is made where one is there already; ``access`` is
    that of the file; with ``poster`` a JPEG of it is stored beside it.
    """

    url: str
    folder: str | None
    filename: str | None
    ref: str | None
    metadata: JsonObject | None
    checksum: str | None
    max_bytes: int | None
    priority: int = 0
    sealed_headers: bytes | None = None
    webhook_url: str | None = None
    media_id: str | None = None
    overwrites: bool = False
    dedupe: Dedupe = Dedupe.NONE
    access: FileAccess = FileAccess.PUBLIC
    poster: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a task; ``number`` is also its fencing token."""

    number: int
    worker: str
    started: datetime
    finished: datetime | None
    transferred_bytes: int | None
    error: Failure | None


@dataclass(frozen=True, slots=True)
class Task:
    """A promise to ingest.

    ``attempt`` counts claims so far, ``tries`` those that are charged against ``max_attempts``: an
    attempt that ended because a service of ours was missing is not. A pending task with
    ``next_attempt_at`` waits until then. ``outage_since`` is when the object store went missing. A
    task of a batch knows the line of the list that it stood in. ``duplicate_of`` is the file that a
    task is complete with which made none, since that was there already.
    """

    id: str
    project_id: str
    kind: str
    status: Status
    order: Order
    file_id: str
    media_id: str
    attempt: int
    max_attempts: int
    error: Failure | None
    request_id: str
    created: datetime
    started: datetime | None
    finished: datetime | None
    updated: datetime
    tries: int
    next_attempt_at: datetime | None
    outage_since: datetime | None
    batch_id: str | None = None
    batch_line: int | None = None
    duplicate_of: str | None = None

    @property
    def output_id(self) -> str:
        """The id of the file that a complete task ended with."""
        return self.duplicate_of or self.file_id


@dataclass(frozen=True, slots=True)
class TriedTask:
    """A task and its attempts, oldest first, as they were at one moment."""

    task: Task
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A multipart upload that an attempt has begun, and how far it is.

    ``begun_by`` is the attempt that began it and stands in the object's metadata. ``size_bytes``
    and ``etag`` are the source's; with both, another attempt may go on. ``head`` is how the file
    begins. ``parts`` are the finished ones from the first without a gap: number, the store's ETag,
    and the state of the digests after that part.
    """

    object_key: str
    upload_id: str
    begun_by: int
    part_bytes: int
    size_bytes: int | None
    etag: str | None
    head: bytes
    parts: Sequence[FinishedPart] = ()


@dataclass(frozen=True, slots=True)
class FinishedPart:
    """A part that the store has.

    ``digests`` is the state of the file's digests behind it, None where Python cannot export that;
    ``crc32c`` is of the part.
    """

    number: int
    etag: str
    digests: bytes | None
    crc32c: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one attempt to write about its task until somebody claims it again.

    ``previous_error`` is what the attempt before ended with, if there was one since the task was
    created or retried. ``room_bytes`` is what the project may still store; None: any number. With
    ``replaces`` the name is another file's until the task is complete.
    """

    task: Task
    key_prefix: str
    attempt: int
    worker: str
    previous_error: Failure | None = None
    room_bytes: int | None = None
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far a running attempt is; volatile, told through Redis."""

    transferred_bytes: int
    total_bytes: int | None
    rate_bps: float


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the probe learned. None means: does not apply, or the file does not say.

    ``width`` and ``height`` are as displayed, ``rotation`` is the clockwise turn (0, 90, 180, 270)
    that players apply to get there, after they have ``mirrored`` the picture left to right.
    ``streams`` keeps every stream's own, coded values. ``codecs`` are as in RFC 6381,
    ``frame_rate`` is the exact ``fps``. ``placeholder`` is a ThumbHash in base64 and ``background``
    the colour that most of a frame has, as ``#rrggbb``. What has a default here is not in rows of
    older versions.
    """

    kind: Kind
    type: str
    container: str
    extension: str
    codec: str | None
    width: int | None
    height: int | None
    orientation: str | None
    rotation: int | None
    transparency: bool | None
    animated: bool | None
    frames: int | None
    duration_s: float | None
    fps: float | None
    bitrate_bps: int | None
    language: str | None
    streams: Sequence[JsonObject]
    codecs: str | None = None
    frame_rate: str | None = None
    mirrored: bool | None = None
    color: JsonObject | None = None
    hdr: str | None = None
    audio: JsonObject | None = None
    chapters: Sequence[JsonObject] = field(default_factory=list)
    tags: Mapping[str, str] = field(default_factory=dict)
    placeholder: str | None = None
    background: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """Media that is stored and probed.

    ``object_key`` is what the file is called in the bucket, and ``lies_at`` where its object is as
    long as that is not yet there. ``sha256`` is lower-case hex; None where the store copied what it
    tells no SHA-256 of. ``source_sha256`` and ``source_etag`` are what an unchanged source is known
    by: SHA-256 of its URL, and its strong validator. ``poster_key`` is where its poster lies, which
    stays there whatever the file is called later; None where it has none.
    """

    id: str
    media_id: str
    project_id: str
    task_id: str
    object_key: str
    folder: str | None
    filename: str | None
    ref: str | None
    metadata: JsonObject | None
    source: str
    source_name: str | None
    sha256: str | None
    filesize_bytes: int
    media: MediaInfo
    created: datetime
    updated: datetime
    lies_at: str | None = None
    source_sha256: str | None = None
    source_etag: str | None = None
    access: FileAccess = FileAccess.PUBLIC
    poster_key: str | None = None

    @property
    def stored_key(self) -> str:
        """The key of the object that holds its bytes at this moment."""
        return self.lies_at or self.object_key


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list.

    ``total`` counts the whole list; ``newer`` and ``older`` say whether it goes on before and
    behind what is on this page.
    """

    items: Sequence[T]
    total: int
    page: int
    limit: int
    newer: bool = False
    older: bool = False
