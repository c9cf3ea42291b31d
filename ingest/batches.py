"""Batches: many ingests that were asked for at once, and are followed and decided about together.

Invariants: each row of the list is a task of the batch or one of its rejects; a batch is over
(``finished``) when all of its tasks have ended and nothing is left to be done to them. One whose
list is at a URL has neither until that is read; a dry run that has to ask somebody is a batch that
never has tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from ingest.errors import Failure
from ingest.model import JsonObject


class BatchStatus(StrEnum):
    """Where a batch is. ``complete`` says that all has ended, not that all went well; ``failed``
    that its list could not be read, so that nothing was made."""

    LOADING = "loading"
    PROCESSING = "processing"
    PAUSED = "paused"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


# From where somebody may move a batch. Its completion is nobody's decision.
DECISIONS: Mapping[str, frozenset[BatchStatus]] = MappingProxyType(
    {
        "pause": frozenset({BatchStatus.PROCESSING}),
        "resume": frozenset({BatchStatus.PAUSED}),
        "cancel": frozenset({BatchStatus.LOADING, BatchStatus.PROCESSING, BatchStatus.PAUSED}),
        "retry": frozenset({BatchStatus.PROCESSING, BatchStatus.PAUSED, BatchStatus.COMPLETE}),
    }
)
# Rates are means over the last minute: what is older weighs less and less.
RATE_WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Counts:
    """The tasks of a batch by state."""

    pending: int
    processing: int
    complete: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A row of a batch's list that became no task. ``line`` counts from 1."""

    line: int
    url: str | None
    error: Failure
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A list of ingests.

    ``total`` rows became tasks and ``rejected`` did not; ``concurrency`` is how many of its tasks
    may be in flight (None: any number); ``stored_bytes`` are those of its complete tasks.
    ``source_url`` is where its list is, without the query; ``error`` is why that could not be read,
    at the last try while it is ``loading``, or for good. A ``dry_run`` has no tasks: its counts are
    of sources that were asked.
    """

    id: str
    project_id: str
    status: BatchStatus
    ref: str | None
    metadata: JsonObject | None
    webhook_url: str | None
    concurrency: int | None
    total: int
    rejected: int
    counts: Counts
    stored_bytes: int
    tasks_per_s: float
    bytes_per_s: float
    request_id: str
    created: datetime
    finished: datetime | None
    updated: datetime
    rejects: Sequence[Reject] = ()
    source_url: str | None = None
    dry_run: bool = False
    error: Failure | None = None

    @property
    def eta_s(self) -> float | None:
        """How long the rest takes at the rate of the last minute; None where there is none."""
        left = self.counts.pending + self.counts.processing
        if not left or self.status is not BatchStatus.PROCESSING or self.tasks_per_s < 1e-3:
            return None
        return left / self.tasks_per_s


def measure_rate(before: float, amount: float, idle_s: float, age_s: float) -> float:
    """Return how much comes a second, as a mean of the last minute in which the new weighs most.

    Args:
        before: the mean as it was kept ``idle_s`` seconds ago.
        amount: what came since.
        age_s: since when anything could come. What was before is no part of the mean.
    """
    if idle_s <= 0 or age_s <= 0:
        return 0.0
    kept = math.exp(-idle_s / RATE_WINDOW_S)
    mean = before * kept + amount / idle_s * (1 - kept)
    return mean / (1 - math.exp(-max(age_s, idle_s) / RATE_WINDOW_S))
