"""Orders as they are asked for, as strict pydantic models: the fields of ``POST /files`` and of
``POST /tasks``, and those of an item of a batch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ingest.config import MAX_OBJECT_BYTES
from ingest.model import Dedupe, FileAccess, IfExists, Order
from ingest.order_fields import (
    Checksum,
    Filename,
    Folder,
    MediaId,
    Metadata,
    OrderUrl,
    SourceHeaders,
    Strict,
    Text,
)


class OrderRequest(Strict):
    """Something to ingest."""

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
    if_exists: Annotated[IfExists | None, Field(strict=False)] = Field(
        None,
        description="Where a file or a task has the name: `error` (without it) refuses, `rename` "
        "puts a number before the extension, `overwrite` puts the new file in the place of the "
        "old one once it is complete, `skip` answers with what is there.",
    )
    dedupe: Annotated[Dedupe | None, Field(strict=False)] = Field(
        None,
        description="Whether a file of the project that is there already is answered with, where "
        "it came from the same URL and that still has the same strong ETag (`url`), or where it "
        "has the same SHA-256 (`content`); `none` without it.",
    )
    access: Annotated[FileAccess | None, Field(strict=False)] = Field(
        None,
        description="Who may read the bytes: whoever has the file's `url` (`public`, without it), "
        "or who has a URL of `POST /signatures` (`signed`).",
    )
    poster: bool | None = Field(
        None,
        description="Whether a JPEG of it is stored beside the file, which its `poster` leads to: "
        "of a video the first frame that is not black, of a picture the picture, of sound its "
        "cover.",
    )
    media_id: MediaId | None = Field(
        None,
        description="The media that the file belongs to, as the `media_id` of another file; a new "
        "one without.",
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
        return self._build_order(0, None)

    def _build_order(self, priority: int, webhook_url: str | None) -> Order:
        return Order(
            url=self.url,
            folder=self.folder,
            filename=self.filename,
            ref=self.ref,
            metadata=self.metadata,
            checksum=self.checksum,
            max_bytes=self.max_bytes,
            media_id=self.media_id,
            priority=priority,
            webhook_url=webhook_url,
            overwrites=self.if_exists is IfExists.OVERWRITE,
            dedupe=self.dedupe or Dedupe.NONE,
            access=self.access or FileAccess.PUBLIC,
            poster=bool(self.poster),
        )


class QueuedRequest(OrderRequest):
    """Something to ingest that nobody waits for."""

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
        return self._build_order(self.priority or 0, self.webhook_url)
