"""One ingest, in reading order: claim, fetch, store, probe, finish.

The only module that knows this order. Invariants:

- Nothing is stored under a name before the bytes are judged to be media and the checksum holds.
- A file of one part is probed before it is stored. A longer one is probed where it lies. Whatever
  fails after an object was stored, it is taken back before the task is said to have failed.
- What ends a task is one transaction; only after it are the waiting told.
- An attempt that lost its lease writes nothing. An object is only ever replaced where a dead
  attempt left it: an earlier one of the same task, or one of a task that ended without a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

import structlog

from ingest.config import Settings
from ingest.errors import (
    DatabaseUnavailable,
    HeadraceError,
    InternalError,
    LeaseLost,
    ProbeFailed,
    RedisUnavailable,
    SourceEmpty,
    SourceNotMedia,
)
from ingest.formats import SNIFF_BYTES, Format, describe_unknown, sniff
from ingest.logs import get_logger
from ingest.model import File, Lease, MediaInfo
from ingest.naming import clean_source_name, make_key
from ingest.urls import SourceUrl, parse_source_url
from storage.objects.store import ObjectStore
from storage.records import files, tasks
from storage.records.database import Database
from storage.signals import Signals
from workers.checksums import Checksums
from workers.egress import Egress
from workers.fetch import Limits, Source, open_source
from workers.leases import HeldLease, LeaseKeeper
from workers.metrics import WorkerMetrics
from workers.placement import Placement
from workers.probe import Prober
from workers.transfer import PartSender


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything an ingest works with, built once a process."""

    settings: Settings
    database: Database
    signals: Signals
    store: ObjectStore
    egress: Egress
    prober: Prober
    leases: LeaseKeeper
    metrics: WorkerMetrics
    executor: Executor
    clock: Callable[[], float] = time.monotonic


class Pipeline:
    """Runs ingests; one instance serves all threads of a worker."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, task_id: str) -> None:
        """Run one attempt at a task, if it is there to be claimed. Raises nothing it can record."""
        tools = self._tools
        asked = tools.clock()
        with tools.database.transaction() as connection:
            lease = tasks.claim(connection, task_id, tools.leases.worker, tools.leases.lease_s)
        if lease is None:
            get_logger(__name__).info("ingest.nothing_to_claim", task_id=task_id)
            return
        with (
            structlog.contextvars.bound_contextvars(
                task_id=task_id,
                attempt=lease.attempt,
                request_id=lease.task.request_id,
                worker=lease.worker,
            ),
            tools.leases.hold(lease, asked) as held,
            tools.metrics.running.track_inprogress(),
        ):
            outcome = self._attempt(held)
            elapsed_s = tools.clock() - asked
            tools.metrics.attempts.labels(outcome).inc()
            tools.metrics.bytes.inc(held.transferred_bytes)
            tools.metrics.seconds.observe(elapsed_s)
            get_logger(__name__).info(
                "ingest.ended",
                outcome=outcome,
                bytes=held.transferred_bytes,
                duration_s=round(elapsed_s, 3),
            )

    def _attempt(self, held: HeldLease) -> str:
        placement = Placement(self._tools.store, self._tools.database, held.lease)
        try:
            try:
                self._finish(held, self._ingest(held, placement))
            except (LeaseLost, DatabaseUnavailable):
                raise
            except HeadraceError as error:
                return self._fail(held, placement, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the task must end with it
                get_logger(__name__).exception("ingest.broke")
                broken = InternalError(f"Headrace failed with {type(error).__name__}.")
                return self._fail(held, placement, broken)
        except (LeaseLost, DatabaseUnavailable) as error:
            # Nothing can be written now. When the lease has run out, the sweep gives the task to
            # another attempt, which clears what this one may have stored.
            get_logger(__name__).warning("ingest.abandoned", reason=error.code)
            return error.code
        return "complete"

    def _ingest(self, held: HeldLease, placement: Placement) -> File:
        tools, task = self._tools, held.lease.task
        url = parse_source_url(task.order.url)
        get_logger(__name__).info("ingest.started", source=url.redacted)
        if task.order.filename is not None:
            # A stranger's object is better found before the download than after.
            placement.clear(_make_object_key(held.lease, ""))
        limits = _make_limits(tools.settings, task.order.max_bytes)
        source = open_source(tools.egress, url, limits, tools.clock)
        try:
            held.report(0, source.size_bytes)
            return self._store(held, source, placement, url)
        finally:
            source.close()

    def _store(self, held: HeldLease, source: Source, placement: Placement, url: SourceUrl) -> File:
        tools, lease = self._tools, held.lease
        checksums = Checksums(lease.task.order.checksum)

        def note_piece() -> None:
            # A slow source takes long over one buffer: others want to see it move, and a lost
            # lease must end it now.
            held.report(source.received_bytes, source.size_bytes)
            held.check()

        def fill(buffer: bytearray) -> int:
            held.check()
            filled = source.fill(buffer, note_piece)
            checksums.update(memoryview(buffer)[:filled])
            return filled

        first = bytearray(_choose_part_bytes(tools.settings, source.size_bytes))
        filled = fill(first)
        sniffed = _judge_content(bytes(first[: min(filled, SNIFF_BYTES)]))
        if filled == len(first) and not source.ended:
            media, key = self._store_long(held, source, placement, sniffed, first, fill, checksums)
        else:
            del first[filled:]
            media, key = self._store_short(held, source, placement, sniffed, first, checksums)
        return _make_file(lease, url, source, key, checksums.sha256, media)

    def _store_short(
        self,
        held: HeldLease,
        source: Source,
        placement: Placement,
        sniffed: Format,
        content: bytearray,
        checksums: Checksums,
    ) -> tuple[MediaInfo, str]:
        checksums.verify()
        media = self._tools.prober.probe_bytes(content, sniffed)
        key = _make_object_key(held.lease, media.extension)
        name = _choose_shown_name(held.lease, source, media.extension)
        headers = placement.make_headers(media.type, name, checksums.sha256)
        held.check()
        placement.put(key, content, headers)
        return media, key

    def _store_long(
        self,
        held: HeldLease,
        source: Source,
        placement: Placement,
        sniffed: Format,
        first: bytearray,
        fill: Callable[[bytearray], int],
        checksums: Checksums,
    ) -> tuple[MediaInfo, str]:
        tools = self._tools
        key = _make_object_key(held.lease, sniffed.extension)
        name = _choose_shown_name(held.lease, source, sniffed.extension)
        headers = placement.make_headers(sniffed.type, name)
        # The buffer is used again for later parts.
        head = bytes(first[:SNIFF_BYTES])

        def before_complete() -> None:
            checksums.verify()
            held.check()

        sender = PartSender(tools.store, tools.executor, tools.settings.parts_in_flight)
        placement.send(sender, key, headers, first, fill, before_complete)
        url = tools.store.presign(key, int(tools.settings.probe_timeout_s) + 60, public=False)
        try:
            media = tools.prober.probe_url(url, sniffed, head)
        except ProbeFailed:
            # ffprobe fails for want of the store just as it fails at a broken file.
            tools.store.check()
            raise
        held.check()
        return media, key

    def _finish(self, held: HeldLease, file: File) -> None:
        with self._tools.database.transaction() as connection:
            if not tasks.complete(connection, held.lease, held.transferred_bytes):
                raise LeaseLost("Another attempt has the task.")
            if held.lease.task.order.filename is None:
                tasks.reserve_name(connection, file.project_id, file.task_id, file.object_key)
            files.insert_file(connection, file)
        self._announce(held.lease.task.id)

    def _fail(self, held: HeldLease, placement: Placement, error: HeadraceError) -> str:
        held.check()
        placement.take_back()
        with self._tools.database.transaction() as connection:
            if not tasks.fail(connection, held.lease, error, held.transferred_bytes):
                raise LeaseLost("Another attempt has the task.")
        self._announce(held.lease.task.id)
        return error.code

    def _announce(self, task_id: str) -> None:
        # Whoever waits looks at the row now and then, so a lost word costs only time.
        with suppress(RedisUnavailable):
            self._tools.signals.announce_end(task_id)


def _make_limits(settings: Settings, max_bytes: int | None) -> Limits:
    return Limits(
        max_bytes=settings.max_bytes if max_bytes is None else min(max_bytes, settings.max_bytes),
        total_timeout_s=settings.total_timeout_s,
        lowest_bps=settings.lowest_bps,
        lowest_window_s=settings.lowest_window_s,
        max_redirects=settings.max_redirects,
    )


def _choose_part_bytes(settings: Settings, size_bytes: int | None) -> int:
    part_bytes = settings.part_bytes_for(size_bytes)
    # One byte more than a small file has, so that its end is seen in the first fill.
    return part_bytes if size_bytes is None else min(part_bytes, size_bytes + 1)


def _judge_content(head: bytes) -> Format:
    if not head:
        raise SourceEmpty("The source has no content: its body is empty.")
    sniffed = sniff(head)
    if sniffed is None:
        raise SourceNotMedia(
            f"The source is {describe_unknown(head)}, not a video, audio or image file."
        )
    return sniffed


def _make_object_key(lease: Lease, extension: str) -> str:
    order = lease.task.order
    filename = order.filename or f"{lease.task.file_id}.{extension}"
    return make_key(lease.key_prefix, order.folder, filename)


def _choose_shown_name(lease: Lease, source: Source, extension: str) -> str:
    task = lease.task
    return (
        task.order.filename or clean_source_name(str(source.url)) or f"{task.file_id}.{extension}"
    )


def _make_file(
    lease: Lease, url: SourceUrl, source: Source, key: str, sha256: str, media: MediaInfo
) -> File:
    task = lease.task
    return File(
        id=task.file_id,
        media_id=task.media_id,
        project_id=task.project_id,
        task_id=task.id,
        object_key=key,
        folder=task.order.folder,
        filename=task.order.filename,
        ref=task.order.ref,
        metadata=task.order.metadata,
        source=url.redacted,
        source_name=clean_source_name(str(source.url)),
        sha256=sha256,
        filesize_bytes=source.received_bytes,
        media=media,
        # The database fills in the times.
        created=task.created,
        updated=task.updated,
    )
