"""What is asked of a batch, as strict pydantic models: items, and what holds for all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ingest.config import MAX_OBJECT_BYTES
from ingest.list_rows import ListFormat
from ingest.model import Dedupe, FileAccess, IfExists
from ingest.order_fields import Folder, ListUrl, Metadata, SourceHeaders, Strict, Text
from ingest.order_requests import QueuedRequest

_MOST_AT_ONCE = 10_000


class BatchItem(QueuedRequest):
    """One of the items of a batch."""


class BatchDefaults(Strict):
    """What holds for items that do not say it themselves."""

    folder: Folder | None = Field(None, description="As of an item.")
    ref: Text | None = Field(None, min_length=1, max_length=255, description="As of an item.")
    metadata: Metadata | None = Field(None, description="As of an item.")
    max_bytes: int | None = Field(None, ge=1, le=MAX_OBJECT_BYTES, description="As of an item.")
    headers: SourceHeaders | None = Field(None, description="As of an item.")
    priority: int | None = Field(None, ge=-10, le=10, description="As of an item.")
    max_attempts: int | None = Field(None, ge=1, le=100, description="As of an item.")
    webhook_url: Text | None = Field(None, description="As of an item.")
    if_exists: Annotated[IfExists | None, Field(strict=False)] = Field(
        None, description="As of an item."
    )
    dedupe: Annotated[Dedupe | None, Field(strict=False)] = Field(
        None, description="As of an item."
    )
    access: Annotated[FileAccess | None, Field(strict=False)] = Field(
        None, description="As of an item."
    )
    poster: bool | None = Field(None, description="As of an item.")


class BatchOptions(Strict):
    """What a batch is asked for besides its items."""

    defaults: BatchDefaults | None = Field(
        None, description="What holds for items that do not say it themselves."
    )
    on_error: Literal["continue", "abort"] = Field(
        "continue",
        description="What an item that cannot be taken does to the others: nothing, or none of "
        "them is taken.",
    )
    dry_run: bool = Field(default=False, description="Check all items, and make nothing.")
    check_sources: bool = Field(
        default=False,
        description="With `dry_run`: each source is asked for its beginning, too, by a worker.",
    )
    concurrency: int | None = Field(
        None, ge=1, le=_MOST_AT_ONCE, description="How many of its tasks run at once at most."
    )
    priority: int | None = Field(None, ge=-10, le=10, description="The same as in `defaults`.")
    ref: Text | None = Field(
        None, min_length=1, max_length=255, description="Your own id for the batch."
    )
    metadata: Metadata | None = Field(None, description="Anything of yours to keep with it.")
    webhook_url: str | None = Field(
        None,
        description="Told when all of its tasks have ended.",
        examples=["https://example.com/webhooks/headrace"],
    )


class ListSource(Strict):
    """Where the list of a batch is, if it is not sent."""

    source_url: ListUrl = Field(
        description="Where the list is: an http or https URL, or `s3://connection/key`. A worker "
        "reads it.",
        examples=["https://example.com/list.csv"],
    )
    format: Literal["csv", "ndjson", "json", "urls", "tsv"] | None = Field(
        None,
        description="How it is written; without it the source's Content-Type says so, the "
        "extension of its name, or how it begins.",
    )
    headers: SourceHeaders | None = Field(
        None, description="Sent to the list's origin, and kept sealed until it is read."
    )

    @property
    def form(self) -> ListFormat | None:
        """The format as a list's reader knows it."""
        if self.format is None:
            return None
        return ListFormat.TEXT if self.format == "urls" else ListFormat(self.format)


class SourcedBatchRequest(BatchOptions, ListSource):
    """``POST /batches`` as a JSON body that says where the list is."""


class BatchRequest(BatchOptions):
    """``POST /batches`` as a JSON body; the fields may stand in any order."""

    items: list[BatchItem] = Field(min_length=1, description="What to ingest.")
