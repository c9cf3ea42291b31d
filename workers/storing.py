"""From an open source to an object that is stored and probed.

Invariants: nothing is stored under a name before the bytes are judged to be media and the checksum
holds; a file of one part is probed before it is stored, a longer one where it lies; nothing is
written without a look at the lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import chain

from ingest.disposition import find_source_name
from ingest.errors import FieldInvalid, FileExists, ProbeFailed, SourceEmpty, SourceNotMedia
from ingest.formats import SNIFF_BYTES, Format, describe_unknown, sniff
from ingest.logs import get_logger
from ingest.model import File, MediaInfo
from ingest.naming import clean_source_name, make_key, name_poster
from storage.objects.store import Part, Upload
from workers.attempt import Attempt
from workers.checkpoints import Resumption
from workers.checksums import Checksums
from workers.duplicates import find_by_content
from workers.filing import choose_shown_name, make_file, make_object_key
from workers.probe import Probed
from workers.reading import PartReader, Splitting
from workers.stream import Stream
from workers.transfer import PartSender
from workers.watchdog import Cancellation


def store_source(
    attempt: Attempt,
    source: Stream,
    found: Resumption | None,
    cancellation: Cancellation,
    splitting: Splitting | None,
) -> File:
    """Read a source to its end, store it, probe it.

    Args:
        found: what the body goes on from; it begins at its ``from_byte``.
        cancellation: of the attempt.
        splitting: how the rest may be read over several connections, if it may.

    Returns:
        The File, which nobody knows of yet; or the one that has the same bytes, where such a one is
        asked for.

    Raises:
        IngestError, ServiceError: whatever ends the attempt.
    """
    tools = attempt.tools
    checksums = Checksums(attempt.lease.task.order.checksum) if found is None else found.checksums
    if found is None:
        part_bytes = tools.settings.part_bytes_for(source.size_bytes)
    else:
        part_bytes = found.checkpoint.part_bytes
    with tools.buffers.open(part_bytes) as buffers:
        reader = PartReader(
            source, checksums, buffers, attempt.held, cancellation, splitting, tools.clock
        )
        with closing(reader.read()) as parts, ExitStack() as unsent:
            first = next(parts, None)
            if first is not None:
                unsent.callback(buffers.give, first.buffer)
            head = b"" if first is None else bytes(first.content[:SNIFF_BYTES])
            if found is not None:
                head = found.checkpoint.head
            sniffed = judge_content(head)
            name = find_source_name(source.dispositions, source.url.path)
            if first is None or (found is None and source.ended):
                content = memoryview(b"") if first is None else first.content
                checksums.verify()
                sha256 = checksums.sha256
                known = find_by_content(attempt, sha256)
                if known is not None:
                    attempt.start_again()
                    return known
                media, poster_key, key = _store_short(attempt, name, sniffed, content, sha256)
            else:
                upload, done = _open_upload(attempt, source, name, found, sniffed, head, part_bytes)
                key = upload.key
                sender = PartSender(tools.store, tools.senders, buffers, attempt.checkpoints.note)
                # From here on it is the sender's.
                unsent.pop_all()
                stored = sender.send(upload, done, chain([first], parts))
                checksums.verify()
                sha256 = checksums.sha256
                known = find_by_content(attempt, sha256)
                if known is not None:
                    attempt.start_again()
                    return known
                attempt.held.check()
                attempt.placement.complete(upload, stored, reader.received_bytes)
                media, poster_key = probe_stored(attempt, key, sniffed, head)
    return make_file(
        attempt.lease,
        attempt.url,
        source_name=name,
        key=key,
        sha256=sha256,
        filesize_bytes=reader.received_bytes,
        media=media,
        poster_key=poster_key,
        etag=source.etag,
    )


def take_over(attempt: Attempt, found: Resumption) -> File:
    """Return the File of an object that an attempt left which died when all was stored.

    Raises:
        ChecksumMismatch, ProbeFailed, StorageUnavailable, LeaseLost
    """
    key, head = found.upload.key, found.checkpoint.head
    found.checksums.verify()
    attempt.held.report(found.size_bytes, found.size_bytes)
    media, poster_key = probe_stored(attempt, key, judge_content(head), head)
    return make_file(
        attempt.lease,
        attempt.url,
        source_name=clean_source_name(attempt.url.path),
        key=key,
        sha256=found.checksums.sha256,
        filesize_bytes=found.size_bytes,
        media=media,
        poster_key=poster_key,
        etag=found.etag,
    )


def _store_short(
    attempt: Attempt,
    source_name: str | None,
    sniffed: Format,
    content: memoryview,
    sha256: str,
) -> tuple[MediaInfo, str | None, str]:
    task = attempt.lease.task
    probed = attempt.tools.prober.probe_bytes(
        content, sniffed, task.project_id, poster=task.order.poster
    )
    media = probed.media
    key = make_object_key(attempt.lease, media.extension)
    name = choose_shown_name(attempt.lease, source_name, media.extension)
    headers = attempt.placement.make_headers(media.type, name, sha256)
    attempt.held.check()
    attempt.placement.put(key, content, headers, sha256)
    return media, _store_poster(attempt, probed), key


def _open_upload(
    attempt: Attempt,
    source: Stream,
    source_name: str | None,
    found: Resumption | None,
    sniffed: Format,
    head: bytes,
    part_bytes: int,
) -> tuple[Upload, Sequence[Part]]:
    if found is not None:
        return found.upload, [
            Part(part.number, part.etag, part.crc32c) for part in found.checkpoint.parts
        ]
    name = choose_shown_name(attempt.lease, source_name, sniffed.extension)
    upload = attempt.checkpoints.begin(
        make_object_key(attempt.lease, sniffed.extension),
        attempt.placement.make_headers(sniffed.type, name),
        part_bytes=part_bytes,
        size_bytes=source.size_bytes,
        etag=source.etag,
        head=head,
    )
    return upload, []


def probe_stored(
    attempt: Attempt, key: str, sniffed: Format, head: bytes
) -> tuple[MediaInfo, str | None]:
    """Probe an object where it lies, with a look at the lease behind it, and store its poster.

    Returns:
        What it is, and where its poster lies, if it has one.

    Raises:
        ProbeFailed, StorageUnavailable, LeaseLost
    """
    tools = attempt.tools
    url = tools.store.presign(key, int(tools.settings.probe_timeout_s) + 60, public=False)
    try:
        wanted = attempt.lease.task.order.poster
        probed = tools.prober.probe_url(url, sniffed, head, poster=wanted)
    except ProbeFailed:
        # ffprobe fails for want of the store just as it fails at a broken file.
        tools.store.check()
        raise
    attempt.held.check()
    return probed.media, _store_poster(attempt, probed)


def _store_poster(attempt: Attempt, probed: Probed) -> str | None:
    """Store what was drawn of a file; a poster that cannot be had, or has no place, is none."""
    lease = attempt.lease
    if not lease.task.order.poster:
        return None
    reason = "none could be drawn"
    if probed.poster is not None:
        try:
            key = make_key(
                lease.key_prefix, lease.task.order.folder, name_poster(lease.task.file_id)
            )
            attempt.placement.put_poster(key, probed.poster)
        except (FieldInvalid, FileExists) as error:
            reason = error.message
        else:
            return key
    get_logger(__name__).warning("poster.none", reason=reason)
    return None


def judge_content(head: bytes) -> Format:
    """Return what a file is, by how it begins.

    Raises:
        SourceEmpty, SourceNotMedia
    """
    if not head:
        raise SourceEmpty("The source has no content: its body is empty.")
    sniffed = sniff(head)
    if sniffed is None:
        raise SourceNotMedia(
            f"The source is {describe_unknown(head)}, not a video, audio or image file."
        )
    return sniffed
