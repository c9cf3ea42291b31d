"""Requests about files, tasks and keys, as strict pydantic models.

What answers look like stands in ``ingest.resources``; nothing else knows JSON's shapes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from api.fields import Moment, QueryMoment, Window
from ingest.access import USUAL_SCOPES, Scope
from ingest.batches import BatchStatus
from ingest.formats import Kind
from ingest.model import FileAccess, IfExists
from ingest.order_fields import (
    AnyFilename,
    Filename,
    Folder,
    Metadata,
    OrderUrl,
    SourceHeaders,
    Strict,
    Text,
)
from ingest.order_requests import OrderRequest, QueuedRequest
from ingest.states import Status
from ingest.url_signatures import SignedMethod


class FileRequest(OrderRequest):
    """``POST /files``."""


class TaskRequest(QueuedRequest):
    """``POST /tasks``."""

    kind: Literal["ingest"] = Field(description="What to do.")

    @model_validator(mode="before")
    @classmethod
    def _read_input(cls, value: object) -> object:
        """Take ``{"input": {"url": …}}``, as clients of the ittybit API send it, for ``url``."""
        if not isinstance(value, dict) or "url" in value:
            return value
        given = value.get("input")
        if not isinstance(given, dict) or given.keys() != {"url"}:
            return value
        return {name: one for name, one in value.items() if name != "input"} | given


class FileChange(Strict):
    """``PATCH /files/{id}``: what is left out stays, null takes ``ref`` and ``metadata`` away."""

    folder: Folder | None = Field(
        None, description="Folder in the bucket, to move it there.", examples=["archive/2026"]
    )
    filename: Filename | None = Field(
        None, description="Name in the folder, to call it that.", examples=["final.mp4"]
    )
    access: Annotated[FileAccess | None, Field(strict=False)] = Field(
        None, description="Who may read the bytes from now on: `public` or `signed`."
    )
    ref: Text | None = Field(None, min_length=1, max_length=255, description="Your own id for it.")
    metadata: Metadata | None = Field(None, description="Anything of yours to keep with it.")


class TaskChange(Strict):
    """``PATCH /tasks/{id}``."""

    url: OrderUrl = Field(
        description="Where the same media is now, such as a fresh signed URL.",
        examples=["https://example.com/video.mp4?signature=n3w"],
    )
    headers: SourceHeaders | None = Field(
        None,
        description="Sent to its origin. Those from before stay if this is left out and the origin "
        "is the same; null takes them away.",
    )


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) and value.isupper() else value


# Both cases in the document would be one name twice in clients that are made from it.
_Method = Annotated[SignedMethod, Field(strict=False), BeforeValidator(_lower)]


class SignatureRequest(Strict):
    """``POST /signatures``."""

    filename: AnyFilename = Field(
        description="Name in the folder; or the id of a file, without a folder.",
        examples=["video.mp4"],
    )
    folder: Folder | None = Field(None, description="Folder in the bucket.", examples=["a/b"])
    expiry: int | None = Field(
        None,
        ge=1,
        description="When it ends, in seconds since 1970: up to 7 days from now; an hour without.",
    )
    method: _Method | None = Field(
        None, description="To read the file, as without it, or to send it; in upper case, too."
    )
    if_exists: Annotated[IfExists | None, Field(strict=False)] = Field(
        None, description="Of a file that is sent: as for `POST /files`."
    )
    access: Annotated[FileAccess | None, Field(strict=False)] = Field(
        None, description="Of a file that is sent: as for `POST /files`."
    )


class UploadQuery(BaseModel):
    """Query of ``PUT /uploads/{project_id}/{name}``, as it was signed; the rest is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    expiry: str | None = Field(None, description="When the URL ends.")
    if_exists: str | None = Field(None, description="What becomes of a name that is taken.")
    access: str | None = Field(None, description="Who may read the file.")
    signature: str | None = Field(None, description="Over all that.")


class DeliveryQuery(BaseModel):
    """Query of ``GET /delivery/{name}``; whatever else is there is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    expiry: str | None = Field(None, description="Of a signed URL.")
    signature: str | None = Field(None, description="Of a signed URL.")
    download: str | None = Field(
        None, description="Have browsers save the file, as this name if it is one."
    )


class KeyRequest(Strict):
    """``POST /keys``."""

    name: Text = Field(
        min_length=1, max_length=255, description="What you know it by.", examples=["uploader"]
    )
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        list(USUAL_SCOPES),
        min_length=1,
        max_length=len(Scope),
        description="What it may do: `read`, `write`, and `admin`, which is both and keeps keys.",
    )
    expires: Moment | None = Field(
        None,
        description="When it ends by itself: ISO 8601, with its offset from UTC.",
        examples=["2030-01-01T00:00:00Z"],
    )


# What clients of the ittybit API call states, by the names they have here.
_OTHER_NAMES = {
    "waiting": Status.PENDING,
    "ready": Status.COMPLETE,
    "completed": Status.COMPLETE,
    "error": Status.FAILED,
}


def _translate(value: object) -> object:
    return _OTHER_NAMES.get(value, value) if isinstance(value, str) else value


_Status = Annotated[Status | None, BeforeValidator(_translate)]


class NoFields(Strict):
    """What takes no field: an empty object, which may be left out."""


class _Listing(Window):
    ref: Text | None = Field(None, max_length=255, description="Only those with this ref.")


class KeyListing(Window):
    """Query of ``GET /keys``."""


class MediaListing(Window):
    """Query of ``GET /media``."""


class FileListing(_Listing):
    """Query of ``GET /files``."""

    kind: Kind | None = Field(None, description="Only files of this kind.")


class BatchListing(_Listing):
    """Query of ``GET /batches``."""

    status: BatchStatus | None = Field(None, description="Only batches in this state.")


class BatchTaskListing(_Listing):
    """Query of ``GET /batches/{id}/tasks``."""

    status: _Status = Field(None, description="Only tasks in this state.")


class TaskQuery(BaseModel):
    """Query of ``GET /tasks/{id}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wait: int = Field(
        0, ge=0, le=60, description="Seconds to wait for the end of a task that has not ended."
    )


class TaskListing(_Listing):
    """Query of ``GET /tasks``."""

    status: _Status = Field(None, description="Only tasks in this state.")
    kind: Literal["ingest"] | None = Field(None, description="Only tasks of this kind.")
    created_from: QueryMoment | None = Field(
        None, description="Only those created at or after this."
    )
    created_until: QueryMoment | None = Field(None, description="Only those created before this.")
    batch_id: Text | None = Field(None, max_length=64, description="Only tasks of this batch.")
