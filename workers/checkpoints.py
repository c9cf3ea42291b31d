"""How far an upload is, written down so that a later attempt goes on where this one ended.

Invariants:

- An upload is planned in the database before the store begins it, and its row lives until it is
  completed or aborted: none is ever forgotten.
- What is noted of a part was said by the store. What is gone on from was confirmed by it again: the
  parts from the first on that it still has, with the ETags and lengths that were noted. They are
  guarded as the store is set up to guard them now, or it could not complete them.
- A database that is silent for a moment costs notes, not bytes: they are made up for later.
- An upload that another attempt may go on with is not aborted.
- Parts that are longer than the settings now allow are not gone on with: memory is bounded by them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from ingest.errors import DatabaseUnavailable, LeaseLost, ServiceError
from ingest.logs import get_logger
from ingest.model import Checkpoint, FinishedPart
from storage.objects.store import ObjectHeaders, ObjectStore, Part, StoredPart, Upload
from storage.records import uploads
from storage.records.database import Database
from workers.checksums import Checksums
from workers.leases import HeldLease


@dataclass(frozen=True, slots=True)
class Resumption:
    """What an attempt goes on from.

    Attributes:
        checkpoint: its parts are those that are kept.
        checksums: the digests up to ``from_byte``.
        size_bytes, etag: what the source must still say of itself.
        completed: whether the object is there already, whole; then nothing is to be fetched.
    """

    checkpoint: Checkpoint
    checksums: Checksums
    size_bytes: int
    etag: str
    completed: bool = False

    @property
    def from_byte(self) -> int:
        """Where the next part begins."""
        return min(self.size_bytes, len(self.checkpoint.parts) * self.checkpoint.part_bytes)

    @property
    def upload(self) -> Upload:
        """The upload as the store knows it."""
        return Upload(self.checkpoint.object_key, self.checkpoint.upload_id)


class Checkpoints:
    """The uploads of one attempt.

    Args:
        most_part_bytes: the longest part that a buffer may hold.

    Attributes:
        begun_by: the attempt that began the upload this one writes to; it stands in the object's
            metadata. This very attempt's number until another's upload is adopted.
    """

    def __init__(
        self, database: Database, store: ObjectStore, held: HeldLease, *, most_part_bytes: int
    ) -> None:
        self.begun_by = held.lease.attempt
        self._database = database
        self._store = store
        self._held = held
        self._lease = held.lease
        self._most_part_bytes = most_part_bytes
        self._upload: Upload | None = None
        self._can_serve_others = False
        self._lock = threading.Lock()
        self._unnoted: list[FinishedPart] = []

    @property
    def used(self) -> bool:
        """Whether there is an upload, open or completed, that this attempt writes to."""
        return self._upload is not None

    def find(self) -> Resumption | None:
        """Look for what an earlier attempt has left, and take it over.

        What cannot be verified is aborted: the file starts again.

        Raises:
            LeaseLost, StorageUnavailable
        """
        if self._lease.attempt == 1:
            return None
        checkpoint = self._held.write(
            self._database.transaction,
            lambda connection: uploads.find(connection, self._lease.task.id),
        )
        if checkpoint is None:
            return None
        found = self._verify(checkpoint)
        kept = 0 if found is None else len(found.checkpoint.parts)
        if not self._held.write(
            self._database.transaction,
            lambda connection: uploads.adopt(connection, self._lease, checkpoint.begun_by, kept),
        ):
            raise LeaseLost("Another attempt has the upload.")
        self.begun_by = checkpoint.begun_by
        self._upload = Upload(checkpoint.object_key, checkpoint.upload_id)
        self._can_serve_others = True
        if found is None:
            self.abandon()
            return None
        get_logger(__name__).info(
            "ingest.resumed", from_byte=found.from_byte, parts=kept, begun_by=self.begun_by
        )
        return found

    def begin(
        self,
        key: str,
        headers: ObjectHeaders,
        *,
        part_bytes: int,
        size_bytes: int | None,
        etag: str | None,
        head: bytes,
    ) -> Upload:
        """Begin an upload of this attempt's own.

        Args:
            size_bytes: of the source, or None.
            etag: the source's strong validator, or None.
            head: how the file begins.

        Raises:
            LeaseLost, StorageUnavailable
        """
        lease = self._lease

        def plan(connection: Connection) -> bool:
            return uploads.plan(
                connection,
                lease,
                key,
                part_bytes=part_bytes,
                size_bytes=size_bytes,
                etag=etag,
                head=head,
            )

        if not self._held.write(self._database.transaction, plan):
            raise LeaseLost("Another attempt has the task.")
        self.begun_by = lease.attempt
        upload = self._upload = self._store.begin(key, headers)
        self._can_serve_others = size_bytes is not None and etag is not None
        if not self._held.write(
            self._database.transaction,
            lambda connection: uploads.note_begun(connection, lease, upload.upload_id),
        ):
            raise LeaseLost("Another attempt has the task.")
        return upload

    def note(self, part: Part, digests: bytes | None) -> None:
        """Note that the store has a part; may be called from any thread.

        Args:
            digests: their state behind this part.

        Raises:
            LeaseLost: this attempt may not write any more.
        """
        if not self._can_serve_others:
            return
        with self._lock:
            self._unnoted.append(FinishedPart(part.number, part.etag, digests, part.crc32c))
            try:
                with self._database.transaction() as connection:
                    for one in self._unnoted:
                        if not uploads.note_part(connection, self._lease, self.begun_by, one):
                            raise LeaseLost("Another attempt has the upload.")
            except DatabaseUnavailable:
                get_logger(__name__).warning("checkpoint.put_off", parts=len(self._unnoted))
                return
            self._unnoted.clear()

    def abandon(self) -> bool:
        """Abort the upload, unless it is another attempt's by now; a silent store keeps it.

        What is kept is found again by its row, by the next attempt or by the sweep.

        Returns:
            Whether there is none any more, nor a row of one: then this attempt may begin another.
        """
        if self._upload is None:
            return True
        gone = False
        with suppress(ServiceError):
            with self._database.transaction() as connection:
                if not uploads.may_abort(connection, self._lease, self.begun_by):
                    return False
            self._store.abort(self._upload)
            with self._database.transaction() as connection:
                uploads.drop(connection, self._lease.task.id, self.begun_by)
            gone = True
        self._upload = None
        self.begun_by = self._lease.attempt
        return gone

    def leave(self) -> None:
        """Leave the upload to the next attempt, if it is any good to one; or abort it."""
        if not self._can_serve_others:
            self.abandon()

    def _verify(self, checkpoint: Checkpoint) -> Resumption | None:
        size_bytes, etag = checkpoint.size_bytes, checkpoint.etag
        if size_bytes is None or etag is None:
            return None
        upload = Upload(checkpoint.object_key, checkpoint.upload_id)
        stored = self._store.list_parts(upload)
        total = -(-size_bytes // checkpoint.part_bytes)
        if stored is None:
            completed = len(checkpoint.parts) == total
            kept = checkpoint.parts
        elif checkpoint.part_bytes > self._most_part_bytes:
            return None
        else:
            completed = False
            # The last part is fetched again, so that the source is always asked whether it still
            # is what it was.
            kept = _match(checkpoint, stored, size_bytes)[: total - 1]
            if not kept or not self._could_complete(kept):
                return None
        digests = kept[-1].digests if kept else None
        if digests is None or (stored is None and not completed):
            return None
        checksums = Checksums.restore(self._lease.task.order.checksum, digests)
        if checksums is None:
            return None
        return Resumption(replace(checkpoint, parts=kept), checksums, size_bytes, etag, completed)

    def _could_complete(self, parts: Sequence[FinishedPart]) -> bool:
        # Parts tell under which checksums their upload was begun; the setting may be another now.
        wanted = self._store.wants_part_checksums
        return all((part.crc32c is not None) == wanted for part in parts)


def _match(
    checkpoint: Checkpoint, stored: Sequence[StoredPart], size_bytes: int
) -> Sequence[FinishedPart]:
    """Return the parts, from the first on, that the store has as they were noted."""
    # A part that was sent twice may be there twice; completing takes the one it is told.
    there = {(part.number, part.etag, part.size_bytes) for part in stored}
    kept: list[FinishedPart] = []
    for noted in checkpoint.parts:
        begins = (noted.number - 1) * checkpoint.part_bytes
        expected_bytes = min(checkpoint.part_bytes, size_bytes - begins)
        if (noted.number, noted.etag, expected_bytes) not in there:
            break
        kept.append(noted)
    return kept
