"""Requests about files, tasks and keys, as strict pydantic models.

What answers look like stands in ``ingest.resources``; nothing else knows JSON's shapes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from api.fields import (
    Checksum,
    Filename,
    Folder,
    Metadata,
    Moment,
    OrderUrl,
    QueryMoment,
    SourceHeaders,
    Strict,
    Text,
    Window,
)
from ingest.access import USUAL_SCOPES, Scope
from ingest.config import MAX_OBJECT_BYTES
from ingest.formats import Kind
from ingest.model import Order
from ingest.states import Status


class FileRequest(Strict):
    """``POST /files``."""

    url: OrderUrl = Field(
        description="Where the media is: an http or https URL, signed ones as they are, or "
        "`s3://connection/key` for an object in a bucket that the operator has connected.",
        examples=["https://example.com/video.mp4"],
    )
    folder: Folder | None = Field(
        None, description="Folder in the bucket.", examples=["user_1234/uploads"]
    )
    filename: Filename | None = Field(
        None,
        description="Name in the folder; without one the file is named by its id.",
        examples=["custom-filename.mp4"],
    )
    ref: Text | None = Field(
        None, min_length=1, max_length=255, description="Your own id for it; lists filter by it."
    )
    metadata: Metadata | None = Field(
        None, description="Anything of yours to keep with it, up to 16 KiB of JSON."
    )
    checksum: Checksum | None = Field(
        None,
        description="Fail unless the bytes match: `sha256:…`, `md5:…` or `crc32c:…` and hex.",
    )
    max_bytes: int | None = Field(
        None, ge=1, le=MAX_OBJECT_BYTES, description="Fail if the source is longer than this."
    )
    headers: SourceHeaders | None = Field(
        None,
        description="Sent to the URL's origin with each request, to no other, and kept sealed "
        "until the file is there. No answer shows them.",
        examples=[{"Authorization": "Bearer s3cr3t"}],
    )

    def to_order(self) -> Order:
        """Return what is asked for in the domain's words."""
        return Order(
            url=self.url,
            folder=self.folder,
            filename=self.filename,
            ref=self.ref,
            metadata=self.metadata,
            checksum=self.checksum,
            max_bytes=self.max_bytes,
        )


class TaskRequest(FileRequest):
    """``POST /tasks``."""

    kind: Literal["ingest"] = Field(description="What to do.")
    priority: int | None = Field(
        None, ge=-10, le=10, description="Which tasks run first: the higher the sooner; 0 without."
    )
    max_attempts: int | None = Field(
        None, ge=1, le=100, description="How often it is tried; the server's number without."
    )
    webhook_url: str | None = Field(
        None,
        description="Told when the task is complete, has failed or is cancelled; signed with the "
        "project's secret (`GET /webhooks/secret`).",
        examples=["https://example.com/webhooks/headrace"],
    )

    def to_order(self) -> Order:
        """Return what is asked for in the domain's words."""
        return replace(
            super().to_order(), priority=self.priority or 0, webhook_url=self.webhook_url
        )


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


class NoFields(Strict):
    """What takes no field: an empty object, which may be left out."""


class _Listing(Window):
    ref: Text | None = Field(None, max_length=255, description="Only those with this ref.")


class KeyListing(Window):
    """Query of ``GET /keys``."""


class FileListing(_Listing):
    """Query of ``GET /files``."""

    kind: Kind | None = Field(None, description="Only files of this kind.")


class TaskListing(_Listing):
    """Query of ``GET /tasks``."""

    status: Status | None = Field(None, description="Only tasks in this state.")
    kind: Literal["ingest"] | None = Field(None, description="Only tasks of this kind.")
    created_from: QueryMoment | None = Field(
        None, description="Only those created at or after this."
    )
    created_until: QueryMoment | None = Field(None, description="Only those created before this.")
