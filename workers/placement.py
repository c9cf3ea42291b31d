"""Where one attempt's object goes, and how it is taken away again.

Every object carries the file and the attempt that made it. So an attempt can tell its own write,
whose answer was lost on the way, from a stranger's object; it can clear what a dead attempt left;
and it takes back only what it stored itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ingest.errors import FileExists, ServiceError
from ingest.logs import get_logger
from ingest.model import Lease
from ingest.naming import make_disposition
from storage.objects.store import ObjectHeaders, ObjectStore
from storage.records import lookups
from storage.records.database import Database
from workers.transfer import PartSender

# Names of our own metadata on objects; S3 shows them as x-amz-meta-….
META_FILE_ID = "headrace-file-id"
META_ATTEMPT = "headrace-attempt"
META_SHA256 = "headrace-sha256"


class Placement:
    """The object of one attempt.

    Args:
        lease: the attempt; the task has reserved the key, so only leftovers can be in the way.
    """

    def __init__(self, store: ObjectStore, database: Database, lease: Lease) -> None:
        self._store = store
        self._database = database
        self._lease = lease
        self._touched: str | None = None

    def make_headers(
        self, content_type: str, name: str, sha256: str | None = None
    ) -> ObjectHeaders:
        """Return what the object carries; ``name`` is what a browser saves it as."""
        metadata = {
            META_FILE_ID: self._lease.task.file_id,
            META_ATTEMPT: str(self._lease.attempt),
        }
        if sha256 is not None:
            metadata[META_SHA256] = sha256
        return ObjectHeaders(content_type, make_disposition(name), metadata)

    def clear(self, key: str) -> None:
        """Delete what a dead attempt left under the key.

        That is an earlier attempt at this very task, this attempt's own write whose answer was
        lost, or an attempt of a task that ended without a file.

        Raises:
            FileExists: the object there is somebody else's.
        """
        found = self._store.describe(key)
        if found is None:
            return
        file_id = found.metadata.get(META_FILE_ID, "")
        attempt = found.metadata.get(META_ATTEMPT, "")
        if file_id == self._lease.task.file_id:
            ours = attempt.isdigit() and int(attempt) <= self._lease.attempt
        else:
            with self._database.transaction() as connection:
                ours = lookups.left_nothing(connection, file_id)
        if not ours:
            raise FileExists(
                f"An object that this Headrace did not make is in the bucket as '{key}'.",
                param="filename",
            )
        get_logger(__name__).warning("placement.cleared_leftover", key=key)
        self._store.delete(key)

    def put(self, key: str, content: bytes | bytearray, headers: ObjectHeaders) -> None:
        """Store a file of one part.

        Raises:
            FileExists, StorageUnavailable
        """
        self._touched = key
        try:
            self._store.put(key, content, headers, overwrite=False)
        except FileExists:
            self.clear(key)
            self._store.put(key, content, headers, overwrite=False)

    def send(
        self,
        sender: PartSender,
        key: str,
        headers: ObjectHeaders,
        first: bytearray,
        fill: Callable[[bytearray], int],
        before_complete: Callable[[], None],
    ) -> None:
        """Store a longer file; see :meth:`workers.transfer.PartSender.send`."""
        self._touched = key

        def prepare() -> None:
            before_complete()
            self.clear(key)

        sender.send(key, headers, first, fill, prepare, lambda: self._is_own(key))

    def take_back(self) -> None:
        """Delete what this attempt has stored, if it has; a silent store keeps it as a leftover."""
        if self._touched is None:
            return
        with suppress(ServiceError):
            if self._is_own(self._touched):
                self._store.delete(self._touched)

    def _is_own(self, key: str) -> bool:
        found = self._store.describe(key)
        return (
            found is not None
            and found.metadata.get(META_FILE_ID) == self._lease.task.file_id
            and found.metadata.get(META_ATTEMPT) == str(self._lease.attempt)
        )
