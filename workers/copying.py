"""A source that lies in the store that files land in: copied there, past the worker.

Only the first bytes are read, to tell media from anything else. The copy is a multipart upload like
any other: planned in the database first, its parts tied to the ETag that was seen, made visible at
once and only where nothing is. Invariants:

- A copy is no way around a limit: length, type, time and lease are judged as in a download. What
  has a checksum to be verified is downloaded, since a copy is verified by nobody.
- No request to copy is waited for any more when :func:`copy_source` returns or raises. A store that
  was given up on in the middle of one may still be at it: what comes of that lies in an upload that
  is aborted, or swept.
- An attempt that dies leaves an upload that nobody goes on with: it is aborted and copied anew.
- A SHA-256 is told where the store has verified one of the whole object, or the API has taken it of
  what was sent (:mod:`api.upload_bodies`), and else not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from ingest.config import MAX_PARTS, MIB
from ingest.connections import CopyWay
from ingest.disposition import find_source_name
from ingest.errors import (
    SourceChanged,
    SourceNotFound,
    SourceTimeout,
    StorageUnavailable,
    UploadLost,
)
from ingest.formats import SNIFF_BYTES
from ingest.logs import get_logger
from ingest.model import Dedupe, File
from ingest.urls import ObjectUrl
from storage.objects.store import CopySource, Part, Upload
from workers.attempt import Attempt
from workers.checkpoints import Resumption
from workers.connections import SourceBucket
from workers.filing import choose_shown_name, make_file, make_object_key
from workers.storing import judge_content, probe_stored
from workers.stream import Stream

# No memory here depends on it, and few requests cost little; but a part must be done well within
# the time limit of one request, and between two of them the lease is looked at.
PART_BYTES = 128 * MIB
_STORE_CODES = frozenset({StorageUnavailable.code, UploadLost.code})


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """An object that can be copied: where it is, and how long."""

    bucket: SourceBucket
    source: CopySource
    size_bytes: int

    @property
    def part_bytes(self) -> int:
        """The size of a part."""
        return choose_part_bytes(self.size_bytes)


def choose_part_bytes(size_bytes: int) -> int:
    """Return the size of the parts that an object is copied in, of which S3 takes 10,000."""
    least = -(-size_bytes // MAX_PARTS)
    return max(PART_BYTES, -(-least // MIB) * MIB)


def plan_copy(attempt: Attempt, source: Stream, found: Resumption | None) -> CopyPlan | None:
    """Return how an open source is to be copied; None where it is to be downloaded.

    What fits in one part is downloaded: that takes fewer requests, and tells its SHA-256.

    Args:
        found: what a download goes on from.
    """
    bucket, url = attempt.find_bucket(), attempt.url
    if bucket is None or not isinstance(url, ObjectUrl):
        return None
    connection, settings = bucket.connection, attempt.tools.settings
    if not connection.in_own_store or connection.copy_way is not CopyWay.SERVER:
        return None
    order = attempt.lease.task.order
    # What was sent has been measured on its way in, and there is nothing else to compare it with.
    has_other = order.checksum is not None and not url.is_upload
    if found is not None or has_other or order.dedupe is Dedupe.CONTENT:
        return None
    before = attempt.lease.previous_error
    # A store that fails at copies, or takes too long over a part of one, may take the bytes.
    if before is not None and before.code in _STORE_CODES:
        return None
    if source.etag is None or source.size_bytes is None:
        return None
    if source.size_bytes <= settings.part_bytes:
        return None
    return CopyPlan(bucket, CopySource(connection.bucket, url.key, source.etag), source.size_bytes)


def copy_source(attempt: Attempt, plan: CopyPlan, source: Stream, deadline: float) -> File | None:
    """Copy an object to its place and probe it there.

    Args:
        source: the object, just opened; it is read as far as is needed to judge it, and closed.
        deadline: when the time for all of it is over, by the clock of the tools.

    Returns:
        The File, which nobody knows of yet; None where the store does not copy this, and nothing
        is left of the attempt to.

    Raises:
        StorageUnavailable: or something may be left of the attempt to.
        IngestError, ServiceError: whatever else ends the attempt.
    """
    head = _read_head(source)
    source.close()
    sniffed = judge_content(head)
    name = find_source_name(source.dispositions, source.url.path)
    shown = choose_shown_name(attempt.lease, name, sniffed.extension)
    sha256 = _find_sha256(attempt, plan)
    upload = attempt.checkpoints.begin(
        make_object_key(attempt.lease, sniffed.extension),
        attempt.placement.make_headers(sniffed.type, shown, sha256),
        part_bytes=plan.part_bytes,
        size_bytes=plan.size_bytes,
        # Without it no other attempt goes on with the upload: there are no digests to go on with.
        etag=None,
        head=head,
    )
    parts = _copy_parts(attempt, plan, upload, deadline)
    if parts is None:
        get_logger(__name__).warning("copy.refused", connection=plan.bucket.connection.name)
        # Another upload of this attempt's would have the row of this one, which nobody would know.
        if not attempt.start_again():
            raise StorageUnavailable("The upload of a copy that was refused could not be dropped.")
        attempt.held.report(0, plan.size_bytes)
        return None
    _check_unchanged(plan)
    attempt.held.check()
    attempt.placement.complete(upload, parts, plan.size_bytes)
    get_logger(__name__).info("copy.done", bytes=plan.size_bytes, parts=len(parts))
    media, poster_key = probe_stored(attempt, upload.key, sniffed, head)
    return make_file(
        attempt.lease,
        attempt.url,
        source_name=name,
        key=upload.key,
        sha256=sha256,
        filesize_bytes=plan.size_bytes,
        media=media,
        poster_key=poster_key,
        etag=plan.source.etag,
    )


def _find_sha256(attempt: Attempt, plan: CopyPlan) -> str | None:
    checksum = attempt.lease.task.order.checksum
    if checksum is not None:
        return checksum.removeprefix("sha256:")
    return plan.bucket.store.find_sha256(plan.source.key, plan.source.etag)


def _read_head(source: Stream) -> bytes:
    buffer = bytearray(SNIFF_BYTES)
    return bytes(buffer[: source.fill(buffer, lambda _: None)])


def _check_unchanged(plan: CopyPlan) -> None:
    # Some stores copy whatever is there, and say nothing of the ETag they were told.
    found = plan.bucket.store.describe(plan.source.key)
    if found is None:
        raise SourceNotFound("The object is not in its bucket any more.")
    if found.etag != plan.source.etag:
        raise SourceChanged("The object was replaced while it was copied.")


def _copy_parts(
    attempt: Attempt, plan: CopyPlan, upload: Upload, deadline: float
) -> Sequence[Part] | None:
    """Return the parts of the whole object, or None where the store does not copy them."""
    tools, copied_bytes = attempt.tools, 0
    copied: dict[int, Part] = {}
    in_flight: dict[Future[Part | None], int] = {}
    starts = iter(range(0, plan.size_bytes, plan.part_bytes))
    more = True
    try:
        while more or in_flight:
            while more and len(in_flight) < tools.settings.parts_in_flight:
                start = next(starts, None)
                if start is None:
                    more = False
                    break
                attempt.held.check()
                if tools.clock() > deadline:
                    raise SourceTimeout(
                        f"The copy took longer than {tools.settings.total_timeout_s:g} s."
                    )
                length = min(plan.part_bytes, plan.size_bytes - start)
                number = start // plan.part_bytes + 1
                in_flight[
                    tools.senders.submit(
                        tools.store.copy_part, upload, number, plan.source, start, length
                    )
                ] = length
            for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                copied_bytes += in_flight.pop(future)
                part = future.result()
                if part is None:
                    return None
                copied[part.number] = part
            attempt.held.report(copied_bytes, plan.size_bytes, copied=True)
    finally:
        for future in in_flight:
            future.cancel()
        wait(in_flight)
    return [copied[number] for number in sorted(copied)]
