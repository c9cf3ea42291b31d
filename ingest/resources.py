"""Files and tasks as JSON objects (docs/api.md): every field is always there, null where it does
not apply. The OpenAPI document is written from these models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

from ingest.errors import Failure
from ingest.formats import Kind
from ingest.model import Attempt, Dedupe, File, FileAccess, Task, Transfer
from ingest.naming import name_poster
from ingest.states import Status
from ingest.urls import parse_stored_url

# Named here because the resources have a field called `object`.
JsonDict = dict[str, object]


class ColorResource(BaseModel):
    """What is known of a picture's colours, in ffprobe's words."""

    range: str | None = Field(examples=["tv"])
    space: str | None = Field(examples=["bt709"])
    primaries: str | None = Field(examples=["bt709"])
    transfer: str | None = Field(examples=["bt709"])
    pixel_format: str | None = Field(examples=["yuv420p"])
    bit_depth: int | None = Field(examples=[8])


class AudioResource(BaseModel):
    """What is known of sound."""

    channels: int | None
    layout: str | None = Field(examples=["stereo"])
    sample_rate: int | None = Field(description="Hz.", examples=[48000])
    bit_depth: int | None = Field(description="Null for codecs that have no such thing.")


class ChapterResource(BaseModel):
    """A part of a file."""

    start: float = Field(description="Seconds.")
    end: float = Field(description="Seconds.")
    title: str | None


class FileResource(BaseModel):
    """A File: media that is stored and probed."""

    id: str = Field(examples=["file_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["file"] = "file"
    media_id: str
    kind: Kind
    type: str = Field(description="MIME type, from the content.", examples=["video/mp4"])
    codec: str | None = Field(description="Codec of the main stream.", examples=["h264"])
    container: str = Field(examples=["mp4"])
    width: int | None = Field(description="Pixels, as displayed.")
    height: int | None = Field(description="Pixels, as displayed.")
    orientation: str | None = Field(description="`landscape`, `portrait` or `square`.")
    rotation: int | None = Field(description="Degrees clockwise that players turn the picture.")
    transparency: bool | None = Field(description="Whether the pixels have an alpha channel.")
    animated: bool | None = Field(description="For images: whether there are several frames.")
    frames: int | None
    duration: float | None = Field(description="Seconds.")
    fps: float | None = Field(description="Mean frames a second.")
    filesize: int = Field(description="Bytes.")
    bitrate: int | None = Field(description="Bits a second.")
    language: str | None
    label: str | None
    ref: str | None
    folder: str | None
    filename: str | None
    url: str = Field(description="Where the bytes are; it stays the same.")
    access: FileAccess = Field(
        description="`public`, or `signed`: `url` is read only as `POST /signatures` signs it."
    )
    placeholder: str | None = Field(description="A ThumbHash, in base64.")
    background: str | None = Field(
        description="The colour that most of the picture has.", examples=["#2a5c8f"]
    )
    poster: str | None = Field(description="Where a JPEG of it is, if it was asked for.")
    metadata: JsonDict | None
    original: bool
    checksum: str | None = Field(
        description="`sha256:` and hex. Null for what the object store copied itself, unless it "
        "knows the SHA-256 of the whole object."
    )
    source: str = Field(description="Where it came from, without the query.")
    streams: list[JsonDict]
    codecs: str | None = Field(
        description="Codecs of the main picture and sound as RFC 6381 has them.",
        examples=["avc1.640028,mp4a.40.2"],
    )
    frame_rate: str | None = Field(
        description="Mean frames a second, exact.", examples=["30000/1001"]
    )
    mirrored: bool | None = Field(
        description="Whether players mirror the picture left to right before they turn it."
    )
    color: ColorResource | None = Field(description="Of the main picture.")
    hdr: str | None = Field(description="`hdr10`, `hlg` or `dolby_vision`.")
    audio: AudioResource | None = Field(description="Of the first sound.")
    chapters: list[ChapterResource]
    tags: dict[str, str] = Field(description="The file's own tags, by names in lower case.")
    created: str
    updated: str
    status: Literal["complete"] = "complete"


class DeletedResource(BaseModel):
    """A File that is gone, or a Media with all of its files."""

    id: str
    object: Literal["file", "media"] = "file"
    deleted: Literal[True] = True
    message: str


class MediaResource(BaseModel):
    """A Media: files that belong together."""

    id: str = Field(examples=["med_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["media"] = "media"
    kind: Kind = Field(description="Of its first file, as are size, duration and looks.")
    width: int | None
    height: int | None
    duration: float | None
    placeholder: str | None
    background: str | None
    files: list[FileResource] = Field(description="The first hundred, the oldest first.")
    urls: dict[str, str] = Field(
        description="Where the bytes are: `original` of the first file, and of each that has a "
        "`ref` under that."
    )
    created: str
    updated: str


class FailureResource(BaseModel):
    """Why something failed."""

    code: str = Field(examples=["source_not_found"])
    message: str
    retryable: bool


class AttemptResource(BaseModel):
    """One try."""

    number: int
    worker: str
    started: str
    finished: str | None
    bytes: int | None
    error: FailureResource | None


class TransferResource(BaseModel):
    """How far a running attempt is."""

    bytes: int
    total: int | None
    rate_bps: int
    eta_s: float | None


class InputResource(BaseModel):
    """What was asked for."""

    url: str
    folder: str | None
    filename: str | None


class OptionsResource(BaseModel):
    """How it was asked for."""

    checksum: str | None
    max_bytes: int | None
    priority: int
    max_attempts: int
    webhook_url: str | None
    overwrites: bool = Field(description="Whether the file takes the place of one of its name.")
    dedupe: Dedupe
    access: FileAccess
    poster: bool = Field(description="Whether a JPEG of it is stored beside the file.")


class TaskResource(BaseModel):
    """A Task: an ingest that was promised."""

    id: str = Field(examples=["task_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["task"] = "task"
    kind: str
    status: Status
    progress: int = Field(description="0 to 100.")
    transfer: TransferResource | None
    input: InputResource
    options: OptionsResource
    output: FileResource | None
    duplicate_of: str | None = Field(
        description="The id of a file that was there already, which `output` then is (`dedupe`)."
    )
    error: FailureResource | None
    attempts: list[AttemptResource]
    batch_id: str | None
    ref: str | None
    metadata: JsonDict | None
    created: str
    started: str | None
    finished: str | None
    updated: str
    next_attempt_at: str | None = Field(
        description="While it is pending: until when it waits, after an attempt that failed."
    )


def show_file(file: File, own_url: str, delivery_url: str | None = None) -> FileResource:
    """Return a File object.

    Args:
        own_url: the API's own ``/delivery``, which knows files by id, and who may read them.
        delivery_url: base of the ``url`` of files that everybody may read, if it is another.
    """
    media = file.media
    return FileResource(
        id=file.id,
        media_id=file.media_id,
        kind=media.kind,
        type=media.type,
        codec=media.codec,
        container=media.container,
        width=media.width,
        height=media.height,
        orientation=media.orientation,
        rotation=media.rotation,
        transparency=media.transparency,
        animated=media.animated,
        frames=media.frames,
        duration=media.duration_s,
        fps=media.fps,
        filesize=file.filesize_bytes,
        bitrate=media.bitrate_bps,
        language=media.language,
        label=None,
        ref=file.ref,
        folder=file.folder,
        filename=file.filename,
        url=_make_url(file, own_url, delivery_url),
        access=file.access,
        placeholder=media.placeholder,
        background=media.background,
        poster=_make_poster_url(file, own_url, delivery_url),
        metadata=None if file.metadata is None else dict(file.metadata),
        original=True,
        checksum=None if file.sha256 is None else f"sha256:{file.sha256}",
        source=file.source,
        streams=[dict(stream) for stream in media.streams],
        codecs=media.codecs,
        frame_rate=media.frame_rate,
        mirrored=media.mirrored,
        color=None if media.color is None else ColorResource.model_validate(media.color),
        hdr=media.hdr,
        audio=None if media.audio is None else AudioResource.model_validate(media.audio),
        chapters=[ChapterResource.model_validate(chapter) for chapter in media.chapters],
        tags=dict(media.tags),
        created=show_time(file.created),
        updated=show_time(file.updated),
    )


def show_media(media_id: str, files: Sequence[FileResource]) -> MediaResource:
    """Return a Media object.

    Args:
        files: its files, of which there is one at least, the oldest first.
    """
    first = files[0]
    return MediaResource(
        id=media_id,
        kind=first.kind,
        width=first.width,
        height=first.height,
        duration=first.duration,
        placeholder=first.placeholder,
        background=first.background,
        files=list(files),
        urls={
            **{file.ref: file.url for file in reversed(files) if file.ref},
            "original": first.url,
        },
        created=first.created,
        updated=max(file.updated for file in files),
    )


def show_task(
    task: Task,
    attempts: Sequence[Attempt],
    transfer: Transfer | None,
    output: FileResource | None,
) -> TaskResource:
    """Return a Task object; ``transfer`` is told while it runs, ``output`` when it is complete."""
    order = task.order
    running = transfer if task.status is Status.PROCESSING else None
    return TaskResource(
        id=task.id,
        kind=task.kind,
        status=task.status,
        progress=_measure_progress(task, running),
        transfer=None if running is None else _show_transfer(running),
        input=InputResource(url=order.url, folder=order.folder, filename=order.filename),
        options=OptionsResource(
            checksum=order.checksum,
            max_bytes=order.max_bytes,
            priority=order.priority,
            max_attempts=task.max_attempts,
            webhook_url=order.webhook_url,
            overwrites=order.overwrites,
            dedupe=order.dedupe,
            access=order.access,
            poster=order.poster,
        ),
        output=output,
        duplicate_of=task.duplicate_of,
        error=show_failure(task.error),
        attempts=[_show_attempt(attempt) for attempt in attempts],
        batch_id=task.batch_id,
        ref=order.ref,
        metadata=None if order.metadata is None else dict(order.metadata),
        created=show_time(task.created),
        started=show_time_or_none(task.started),
        finished=show_time_or_none(task.finished),
        updated=show_time(task.updated),
        next_attempt_at=show_time_or_none(
            task.next_attempt_at if task.status is Status.PENDING else None
        ),
    )


def hide_secrets(shown: TaskResource) -> TaskResource:
    """Return a Task object as somebody may see it who has no key: its source without the query,
    where signatures live, and nothing of who is told."""
    url = parse_stored_url(shown.input.url).redacted
    return shown.model_copy(
        update={
            "input": shown.input.model_copy(update={"url": url}),
            "options": shown.options.model_copy(update={"webhook_url": None}),
        }
    )


def show_failure(failure: Failure | None) -> FailureResource | None:
    """Return an error as an object, or None where there is none."""
    if failure is None:
        return None
    return FailureResource(code=failure.code, message=failure.message, retryable=failure.retryable)


def show_time(moment: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_time_or_none(moment: datetime | None) -> str | None:
    """Return the same, or None where there is no time."""
    return None if moment is None else show_time(moment)


def _make_url(file: File, own_url: str, delivery_url: str | None) -> str:
    # A CDN knows the bucket's keys alone, and no signatures; our own delivery keeps the id as the
    # stable name of a file that nobody named.
    if delivery_url is not None and file.access is FileAccess.PUBLIC:
        return f"{delivery_url}/{quote(file.object_key)}"
    return f"{own_url}/{quote(file.id if file.filename is None else file.object_key)}"


def _make_poster_url(file: File, own_url: str, delivery_url: str | None) -> str | None:
    if file.poster_key is None:
        return None
    if delivery_url is not None and file.access is FileAccess.PUBLIC:
        return f"{delivery_url}/{quote(file.poster_key)}"
    return f"{own_url}/{name_poster(file.id)}"


def _measure_progress(task: Task, transfer: Transfer | None) -> int:
    if task.status is Status.COMPLETE:
        return 100
    if transfer is None or not transfer.total_bytes:
        return 0
    # All bytes there is not yet the end: the file is still to be stored and probed.
    return min(99, transfer.transferred_bytes * 100 // transfer.total_bytes)


def _show_transfer(transfer: Transfer) -> TransferResource:
    eta_s = None
    if transfer.total_bytes is not None and transfer.rate_bps > 0:
        left_bytes = transfer.total_bytes - transfer.transferred_bytes
        eta_s = round(left_bytes / transfer.rate_bps, 1)
    return TransferResource(
        bytes=transfer.transferred_bytes,
        total=transfer.total_bytes,
        rate_bps=round(transfer.rate_bps),
        eta_s=eta_s,
    )


def _show_attempt(attempt: Attempt) -> AttemptResource:
    return AttemptResource(
        number=attempt.number,
        worker=attempt.worker,
        started=show_time(attempt.started),
        finished=show_time_or_none(attempt.finished),
        bytes=attempt.transferred_bytes,
        error=show_failure(attempt.error),
    )
