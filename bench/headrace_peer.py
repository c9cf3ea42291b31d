"""The worker's transfer path: what runs between claim and finish, without database and probe.

All that moves, hashes, judges and stores bytes is the worker's own: ``open_source``,
``store_source``, the door, the store, the sender of parts. What stands in is what needs PostgreSQL
(the lease, the notes of finished parts) and ffprobe.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from typing import Any

from ingest.config import Settings
from ingest.formats import Format
from ingest.model import Lease, MediaInfo, Order, Task
from ingest.states import Status
from ingest.urls import parse_source_url
from storage.objects.store import ObjectHeaders, ObjectStore, Part, Upload
from workers.app import build_tools
from workers.attempt import Attempt, Tools
from workers.checkpoints import Checkpoints
from workers.leases import HeldLease
from workers.opening import Opener
from workers.placement import Placement
from workers.probe import Probed, Prober
from workers.storing import store_source
from workers.watchdog import Cancellation


class HeadracePeer:
    """Transfers as a worker with these settings does; ``worker_slots`` at once where it has many.

    Args:
        settings: those of a worker; its database and Redis are never asked.
    """

    def __init__(self, settings: Settings) -> None:
        # Nobody else has attempts at the host, and no database is there to be asked.
        settings = settings.model_copy(update={"host_limit": 0})
        # What speaks to PostgreSQL and Redis connects when it is first used, and is not.
        self._tools = build_tools(settings, "bench", _NoProber())
        self._slots = ThreadPoolExecutor(settings.worker_slots, thread_name_prefix="slot")

    def transfer_one(self, url: str, key: str) -> str:
        """Store what a URL has under a key; return its sha256 in hex."""
        attempt = _begin(self._tools, url, key)
        cancellation = Cancellation()
        opener = Opener(attempt, cancellation)
        source, _ = opener.open(None)
        try:
            file = store_source(attempt, source, None, cancellation, opener.split())
            # Whatever passes a worker has one.
            return file.sha256 or ""
        finally:
            source.close()

    def transfer_many(self, urls: Sequence[str], keys: Sequence[str]) -> list[str]:
        """Store what many URLs have, each under its key; return the sha256 of each in hex."""
        return list(self._slots.map(self.transfer_one, urls, keys))


def _begin(tools: Tools, url: str, key: str) -> Attempt:
    now = datetime.now(UTC)
    folder, _, filename = key.rpartition("/")
    task = Task(
        id="task_bench",
        project_id="proj_bench",
        kind="ingest",
        status=Status.PROCESSING,
        order=Order(url, folder or None, filename, None, None, None, None),
        file_id="file_bench",
        media_id="med_bench",
        attempt=1,
        max_attempts=1,
        error=None,
        request_id="req_bench",
        created=now,
        started=now,
        finished=None,
        updated=now,
        tries=1,
        next_attempt_at=None,
        outage_since=None,
    )
    lease = Lease(task, key_prefix="", attempt=1, worker="bench")
    return Attempt(
        tools,
        HeldLease(lease, time.monotonic, good_until=math.inf),
        parse_source_url(url),
        Placement(tools.store, tools.database, lease),
        _NoCheckpoints(tools.store, lease.attempt),
    )


class _NoCheckpoints(Checkpoints):
    """Begins uploads as a worker does; writes nothing down."""

    def __init__(self, store: ObjectStore, attempt: int) -> None:
        self.begun_by = attempt
        self._store = store

    def begin(
        self,
        key: str,
        headers: ObjectHeaders,
        *,
        part_bytes: int,  # noqa: ARG002
        size_bytes: int | None,  # noqa: ARG002
        etag: str | None,  # noqa: ARG002
        head: bytes,  # noqa: ARG002
    ) -> Upload:
        """Begin an upload."""
        return self._store.begin(key, headers)

    def note(self, part: Part, digests: bytes | None) -> None:
        """Forget that the store has a part."""


class _NoProber(Prober):
    """Says of every file what a probe would say of none."""

    def __init__(self) -> None:
        """Look for no ffprobe."""

    def probe_bytes(
        self,
        content: bytes | bytearray | memoryview,
        sniffed: Format,
        project_id: str,
        *,
        poster: bool = False,
    ) -> Probed:
        """Say what the sniffer said."""
        del content, project_id, poster
        return Probed(_describe(sniffed))

    def probe_url(self, url: str, sniffed: Format, head: bytes, *, poster: bool = False) -> Probed:
        """Say what the sniffer said."""
        del url, head, poster
        return Probed(_describe(sniffed))


@cache
def _describe(sniffed: Format) -> MediaInfo:
    nothing: dict[str, Any] = dict.fromkeys(
        (
            "codec", "width", "height", "orientation", "rotation", "transparency", "animated",
            "frames", "duration_s", "fps", "bitrate_bps", "language",
        )
    )  # fmt: skip
    return MediaInfo(
        kind=sniffed.kind,
        type=sniffed.type,
        container=sniffed.container,
        extension=sniffed.extension,
        streams=(),
        **nothing,
    )
