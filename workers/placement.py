"""Where one attempt's objects go, and how they are taken away again.

Every object carries the file and the attempt that began to store it. So an attempt can tell its own
write, whose answer was lost on the way, from a stranger's object; it can clear what a dead attempt
left; and it takes back only what it stored itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress

from ingest.errors import FileExists, ServiceError, StorageUnavailable, UploadLost
from ingest.logs import get_logger
from ingest.model import Lease
from ingest.naming import POSTER_TYPE, make_disposition
from storage.objects.store import (
    Content,
    ObjectHeaders,
    ObjectStore,
    Part,
    StoredObject,
    Upload,
)
from storage.records import lookups
from storage.records.database import Database

# Names of our own metadata on objects; S3 shows them as x-amz-meta-….
META_FILE_ID = "headrace-file-id"
META_ATTEMPT = "headrace-attempt"
META_SHA256 = "headrace-sha256"
# A late write of an attempt that was taken for dead may come between clearing and storing.
_MOST_CLEARINGS = 3


class Placement:
    """The object of one attempt.

    Args:
        lease: the attempt; the task has reserved the key, so only leftovers can be in the way.

    Attributes:
        begun_by: the attempt whose number the object carries: the one that began its upload.
    """

    def __init__(self, store: ObjectStore, database: Database, lease: Lease) -> None:
        self.begun_by = lease.attempt
        self._store = store
        self._database = database
        self._lease = lease
        # What may have been stored, and the attempt that it carries.
        self._touched: dict[str, int] = {}

    def make_headers(
        self, content_type: str, name: str, sha256: str | None = None
    ) -> ObjectHeaders:
        """Return what the object carries; ``name`` is what a browser saves it as."""
        metadata = {
            META_FILE_ID: self._lease.task.file_id,
            META_ATTEMPT: str(self.begun_by),
        }
        if sha256 is not None:
            metadata[META_SHA256] = sha256
        return ObjectHeaders(content_type, make_disposition(name), metadata)

    def clear(self, key: str) -> None:
        """Delete what a dead attempt left under the key.

        That is an earlier attempt at this very task, this attempt's own write whose answer was
        lost, an attempt of a task that ended without a file, or a copy that came too late.

        Raises:
            FileExists: the object there is somebody else's.
        """
        self._clear(key, self._store.describe(key))

    def put(self, key: str, content: Content, headers: ObjectHeaders, sha256: str) -> None:
        """Store a file of one part; ``sha256`` is the content's, in hex.

        Raises:
            FileExists, StorageUnavailable
        """
        self._touched[key] = self.begun_by
        self._put(key, content, headers, sha256)

    def put_poster(self, key: str, content: bytes) -> None:
        """Store the poster of the file.

        It carries this attempt's own number, whoever began the file's upload: another attempt that
        goes on with that makes a poster of its own.

        Raises:
            FileExists, StorageUnavailable
        """
        own = self._lease.attempt
        self._touched[key] = own
        metadata = {META_FILE_ID: self._lease.task.file_id, META_ATTEMPT: str(own)}
        name = make_disposition(key.rpartition("/")[2])
        sha256 = hashlib.sha256(content).hexdigest()
        self._put(key, content, ObjectHeaders(POSTER_TYPE, name, metadata), sha256)

    def complete(self, upload: Upload, parts: Sequence[Part], size_bytes: int) -> None:
        """Make a longer file visible from all its parts.

        Args:
            size_bytes: how long it is; the store has to say so too.

        Raises:
            FileExists, StorageUnavailable, UploadLost
        """
        key = upload.key
        self._touched[key] = self.begun_by
        found = self._store.describe(key)
        # Done already: by a request whose answer was lost, or by an attempt taken for dead.
        if not self._made(found, self.begun_by):
            self._clear(key, found)
            try:
                self._store.complete(upload, parts, overwrite=False)
            except (FileExists, StorageUnavailable, UploadLost):
                found = self._store.describe(key)
                if not self._made(found, self.begun_by):
                    raise
            else:
                found = self._store.describe(key)
        if found is None or not self._made(found, self.begun_by) or found.size_bytes != size_bytes:
            raise StorageUnavailable("The object store does not hold what was sent.")

    @property
    def may_be_stored(self) -> bool:
        """Whether this attempt may have an object in the store."""
        return bool(self._touched)

    def take_back(self) -> None:
        """Delete what this attempt has stored, if it has; a silent store keeps it as a leftover."""
        for key, attempt in list(self._touched.items()):
            with suppress(ServiceError):
                found = self._store.describe(key)
                own = None if found is None or not self._made(found, attempt) else found
                if own is None or self._store.delete(key, if_etag=own.etag):
                    del self._touched[key]

    def is_own(self, key: str, size_bytes: int | None = None) -> bool:
        """Return whether the object under a key was made from this task's present upload.

        Args:
            size_bytes: how long it has to be, where that is known.
        """
        found = self._store.describe(key)
        return (
            found is not None
            and self._made(found, self.begun_by)
            and size_bytes in {None, found.size_bytes}
        )

    def _put(self, key: str, content: Content, headers: ObjectHeaders, sha256: str) -> None:
        for _ in range(_MOST_CLEARINGS):
            with suppress(FileExists):
                self._store.put(key, content, headers, overwrite=False, sha256=sha256)
                return
            self.clear(key)
        self._store.put(key, content, headers, overwrite=False, sha256=sha256)

    def _clear(self, key: str, found: StoredObject | None) -> None:
        if found is None:
            return
        file_id = found.metadata.get(META_FILE_ID, "")
        if file_id == self._lease.task.file_id:
            ours = is_left_by(found, file_id, self._lease.attempt)
        else:
            with self._database.transaction() as connection:
                ours = lookups.is_left_behind(connection, file_id, key)
        if not ours:
            raise FileExists(
                f"An object that this Headrace did not make is in the bucket as '{key}'.",
                param="filename",
            )
        get_logger(__name__).warning("placement.cleared_leftover", key=key)
        self._store.delete(key, if_etag=found.etag)

    def _made(self, found: StoredObject | None, attempt: int) -> bool:
        own = {META_FILE_ID: self._lease.task.file_id, META_ATTEMPT: str(attempt)}
        return found is not None and own.items() <= found.metadata.items()


def is_left_by(found: StoredObject, file_id: str, attempt: int) -> bool:
    """Return whether an object is what that attempt at a file, or one before it, stored."""
    number = found.metadata.get(META_ATTEMPT, "")
    made_for = found.metadata.get(META_FILE_ID)
    return made_for == file_id and number.isdigit() and int(number) <= attempt
