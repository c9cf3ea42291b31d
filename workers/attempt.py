"""One attempt at a task: what it works with, and what it knows of itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from ingest.config import Settings
from ingest.model import Lease
from ingest.urls import ObjectUrl, SourceUrl
from storage.objects.store import ObjectStore
from storage.records.database import Database
from storage.sealing import Sealer
from storage.signals import Signals
from workers.asking import find_source_url
from workers.buffers import BufferPool
from workers.checkpoints import Checkpoints
from workers.connections import SourceBucket, SourceBuckets
from workers.egress import Egress
from workers.leases import HeldLease, LeaseKeeper
from workers.metrics import WorkerMetrics
from workers.placement import Placement
from workers.probe import Prober


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything an ingest works with, built once a process."""

    settings: Settings
    database: Database
    signals: Signals
    store: ObjectStore
    egress: Egress
    sealer: Sealer
    sources: SourceBuckets
    prober: Prober
    leases: LeaseKeeper
    metrics: WorkerMetrics
    buffers: BufferPool
    # For what is read from sources and for what is sent to the store: neither waits for the other.
    readers: Executor
    senders: Executor
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that holds its task's lease.

    ``url`` is where to fetch from: of a share link, the file behind it.
    """

    tools: Tools
    held: HeldLease
    url: SourceUrl | ObjectUrl
    placement: Placement
    checkpoints: Checkpoints

    @property
    def lease(self) -> Lease:
        """What was claimed."""
        return self.held.lease

    def find_bucket(self) -> SourceBucket | None:
        """Return the bucket that an ``s3://`` source is in; None for any other source.

        Raises:
            SourceForbidden: the task's project may not read it through a connection (any more).
            SourceUnavailable: the connection has no credentials now.
        """
        if isinstance(self.url, ObjectUrl):
            return self.tools.sources.find(self.lease.task.project_id, self.url)
        return None

    def start_again(self) -> bool:
        """Drop what is there of an upload: store or source would not go on with it.

        Returns:
            Whether it is gone; see :meth:`workers.checkpoints.Checkpoints.abandon`.
        """
        gone = self.checkpoints.abandon()
        self.placement.begun_by = self.checkpoints.begun_by
        return gone


def begin_attempt(tools: Tools, held: HeldLease) -> Attempt:
    """Return the attempt that a fresh lease stands for."""
    return Attempt(
        tools,
        held,
        find_source_url(held.lease.task.order.url),
        Placement(tools.store, tools.database, held.lease),
        Checkpoints(
            tools.database,
            tools.store,
            held,
            most_part_bytes=tools.settings.part_bytes_for(None),
        ),
    )
