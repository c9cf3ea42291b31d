"""Batches as JSON objects (docs/api.md); the OpenAPI document is written from these models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ingest.batches import Batch, BatchStatus, Reject
from ingest.resources import (
    FailureResource,
    JsonDict,
    show_failure,
    show_time,
    show_time_or_none,
)


class CountsResource(BaseModel):
    """The tasks of a batch by state."""

    pending: int
    processing: int
    complete: int
    failed: int
    cancelled: int


class RejectResource(BaseModel):
    """A row of the list that became no task."""

    line: int = Field(description="From 1, a header included; of a JSON body, which item.")
    url: str | None = Field(description="Without its query; null if the row could not be read.")
    code: str = Field(examples=["field_invalid"])
    message: str
    param: str | None


class BatchResource(BaseModel):
    """A Batch: a list of ingests."""

    id: str = Field(examples=["batch_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["batch"] = "batch"
    status: BatchStatus = Field(
        description="`loading` while its list is read from a URL, `failed` if that cannot be "
        "done; `complete` when all of its tasks have ended, however they did."
    )
    progress: int = Field(
        description="0 to 100: how many of its tasks have ended; 0 while its list is read."
    )
    total: int = Field(description="Rows of the list that became tasks.")
    rejected: int = Field(description="Rows of the list that did not.")
    counts: CountsResource
    stored_bytes: int = Field(description="Of its complete tasks.")
    rate: float = Field(
        description="Tasks that end a second, in the last minute; of one that is over, on average."
    )
    rate_bps: float = Field(description="Bytes that are stored a second, likewise.")
    eta_s: float | None = Field(description="How long the rest takes at that rate.")
    concurrency: int | None
    ref: str | None
    metadata: JsonDict | None
    webhook_url: str | None
    source_url: str | None = Field(
        description="Where its list is, without the query; null if it was sent."
    )
    dry_run: bool = Field(description="Whether it makes nothing.")
    error: FailureResource | None = Field(
        description="Why its list cannot be read; while it is `loading`, what the last try ended "
        "with."
    )
    rejects: list[RejectResource] = Field(
        description="The first hundred of them; all are in the results. Empty in lists."
    )
    created: str
    finished: str | None
    updated: str


class BatchCheckResource(BaseModel):
    """What a list would become."""

    object: Literal["batch_check"] = "batch_check"
    total: int = Field(description="Rows of the list that can be taken.")
    rejected: int = Field(description="Rows of the list that cannot.")
    rejects: list[RejectResource] = Field(description="Why not; the first ten thousand.")


def show_batch(batch: Batch) -> BatchResource:
    """Return a Batch object."""
    counts = batch.counts
    return BatchResource(
        id=batch.id,
        status=batch.status,
        progress=_measure_progress(batch),
        total=batch.total,
        rejected=batch.rejected,
        counts=CountsResource(
            pending=counts.pending,
            processing=counts.processing,
            complete=counts.complete,
            failed=counts.failed,
            cancelled=counts.cancelled,
        ),
        stored_bytes=batch.stored_bytes,
        rate=round(batch.tasks_per_s, 3),
        rate_bps=round(batch.bytes_per_s),
        eta_s=None if batch.eta_s is None else round(batch.eta_s, 1),
        concurrency=batch.concurrency,
        ref=batch.ref,
        metadata=None if batch.metadata is None else dict(batch.metadata),
        webhook_url=batch.webhook_url,
        source_url=batch.source_url,
        dry_run=batch.dry_run,
        error=show_failure(batch.error),
        rejects=[show_reject(one) for one in batch.rejects],
        created=show_time(batch.created),
        finished=show_time_or_none(batch.finished),
        updated=show_time(batch.updated),
    )


def _measure_progress(batch: Batch) -> int:
    if not batch.total:
        # Nothing is left of a batch that has no tasks, unless they are still to be made.
        return 0 if batch.status is BatchStatus.LOADING else 100
    counts = batch.counts
    return (counts.complete + counts.failed + counts.cancelled) * 100 // batch.total


def show_reject(reject: Reject) -> RejectResource:
    """Return a row that became no task as an object."""
    return RejectResource(
        line=reject.line,
        url=reject.url,
        code=reject.error.code,
        message=reject.error.message,
        param=reject.param,
    )
