"""Moves objects after their files' names, and deletes what a file has left.

The store copies; no byte passes here. Invariants: nothing is ever replaced that is not known to be
dead, so a mover that was taken for dead, and comes late, does no harm; the object that a file is
read from is deleted only once the file is read from its copy; whatever ends a mover, another one
does the rest.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from ingest.config import Settings
from ingest.errors import FileExists, HeadraceError, StorageUnavailable
from ingest.logs import get_logger
from ingest.model import File
from ingest.naming import make_disposition
from storage.objects.store import CopySource, ObjectHeaders, ObjectStore, Part, StoredObject, Upload
from storage.records import lookups, moves
from storage.records.database import Database
from storage.records.moves import Move
from workers.copying import choose_part_bytes
from workers.placement import META_ATTEMPT, META_FILE_ID

# What is moved at the same time, each by a thread with a connection to the database.
MOVES_AT_ONCE = 4
# Longer than one request to the store may take.
_LEASE_S = 120.0
# How long a move waits that has failed.
_AGAIN_S = 30.0
# A round ends, however long its moves take.
_ROUND_S = 1.0
# What came in between may be dead as well.
_MOST_CLEARINGS = 3
# So many that a file gets while its object is copied.
_MOST_NAMES = 5


class Mover:
    """Moves objects; any number may run."""

    def __init__(self, database: Database, store: ObjectStore, settings: Settings) -> None:
        self._database = database
        self._store = store
        self._bucket = settings.s3_bucket
        # Somebody may have been led to the old place a moment ago.
        self._kept_s = float(settings.presign_ttl_s)
        self._idle = threading.Semaphore(MOVES_AT_ONCE)

    def start_due(self) -> int:
        """Start the moves that are due, as far as there are threads; return how many.

        Raises:
            DatabaseUnavailable: what was not started is left to a later call.
        """
        started, ends = 0, time.monotonic() + _ROUND_S
        while self._idle.acquire(timeout=max(0.0, ends - time.monotonic())):
            task_id = None
            try:
                with self._database.transaction() as connection:
                    task_id = moves.claim(connection, _LEASE_S)
            finally:
                if task_id is None:
                    self._idle.release()
            if task_id is None:
                break
            # Its process must not wait for it to end.
            threading.Thread(target=self._run, args=(task_id,), name="move", daemon=True).start()
            started += 1
        return started

    def move(self, task_id: str) -> None:
        """Let the object of a task's file follow its name, and clear what it has left.

        Raises:
            HeadraceError: what is left is done by a later call.
        """
        for _ in range(_MOST_NAMES):
            found = self._read(task_id)
            if found.file is None or found.file.lies_at is None:
                break
            if not self._copy(found, found.file, found.file.lies_at):
                # Whoever deletes it, or called it so before, was quicker.
                continue
            is_own_name = f"/{found.file.lies_at}".rpartition("/")[2].startswith(found.file_id)
            with self._database.transaction() as connection:
                kept_s = self._kept_s if is_own_name else 0.0
                is_moved = moves.note_moved(connection, found.file, kept_s)
            key = found.file.object_key
            if is_moved:
                get_logger(__name__).info("file.moved", file_id=found.file_id, key=key)
            else:
                self._take_back(found.file)
        else:
            raise StorageUnavailable("The object that is to be moved is never where it should be.")
        for key in found.left_keys:
            self._leave(found, key)
        with self._database.transaction() as connection:
            moves.let_go(connection, task_id)

    def _take_back(self, file: File) -> None:
        """Delete a copy that was made for a file which is called otherwise, or is gone."""
        key = file.object_key
        there = self._store.describe(key)
        if there is None or not _is_copy(there, file):
            return
        with self._database.transaction() as connection:
            if moves.hold_unnamed(connection, file.id, key):
                self._store.delete(key, if_etag=there.etag)

    def _leave(self, move: Move, key: str) -> None:
        there = self._store.describe(key)
        made_for = None if there is None else there.metadata.get(META_FILE_ID)
        is_own = made_for == move.file_id or self._is_left_behind(made_for, key)
        with self._database.transaction() as connection:
            # The file may have been called so again.
            if not moves.hold_left(connection, move.task_id, key):
                return
            if there is not None and is_own:
                self._store.delete(key, if_etag=there.etag)
            # Of a mover that was killed; nobody else would know of it once the name is free.
            for pending in self._store.list_uploads(key):
                if pending.upload.key == key:
                    self._store.abort(pending.upload)
            moves.free(connection, move.task_id, key)

    def _run(self, task_id: str) -> None:
        try:
            self.move(task_id)
        except HeadraceError as error:
            get_logger(__name__).warning("move.put_off", task_id=task_id, reason=error.code)
            self._put_off(task_id)
        except Exception:  # noqa: BLE001 - it is tried again, and the others go on
            get_logger(__name__).exception("move.failed", task_id=task_id)
        finally:
            self._idle.release()

    def _put_off(self, task_id: str) -> None:
        # Without a database the lease puts it off.
        with suppress(HeadraceError), self._database.transaction() as connection:
            moves.let_go(connection, task_id, _AGAIN_S)

    def _read(self, task_id: str) -> Move:
        with self._database.transaction() as connection:
            return moves.read(connection, task_id)

    def _copy(self, move: Move, file: File, lies_at: str) -> bool:
        """Have a copy where the file's name is; return False if it does not lie there any more."""
        there = self._store.describe(file.object_key)
        if there is not None and _is_copy(there, file):
            return True
        source = self._store.describe(lies_at)
        if source is None or source.metadata.get(META_FILE_ID) != file.id:
            return False
        metadata = {k: v for k, v in source.metadata.items() if k != META_ATTEMPT}
        name = file.filename or file.source_name or file.object_key.rpartition("/")[2]
        headers = ObjectHeaders(file.media.type, make_disposition(name), metadata)
        upload = self._store.begin(file.object_key, headers)
        is_used = False
        try:
            parts = self._copy_parts(move, upload, lies_at, source)
            is_used = self._complete(file, upload, parts)
        finally:
            if not is_used:
                self._store.abort(upload)
        return True

    def _copy_parts(
        self, move: Move, upload: Upload, lies_at: str, source: StoredObject
    ) -> list[Part]:
        parts: list[Part] = []
        copied = CopySource(self._bucket, lies_at, source.etag)
        part_bytes = choose_part_bytes(source.size_bytes)
        for first_byte in range(0, source.size_bytes, part_bytes):
            if parts:
                with self._database.transaction() as connection:
                    moves.extend(connection, move.task_id, _LEASE_S)
            length = min(part_bytes, source.size_bytes - first_byte)
            part = self._store.copy_part(upload, len(parts) + 1, copied, first_byte, length)
            if part is None:
                raise StorageUnavailable("The object store does not copy objects.")
            parts.append(part)
        return parts

    def _complete(self, file: File, upload: Upload, parts: list[Part]) -> bool:
        """Make the copy visible where nothing is; return False if another mover has done it."""
        for _ in range(_MOST_CLEARINGS):
            there = self._store.describe(upload.key)
            if there is not None and _is_copy(there, file):
                return False
            if there is not None:
                self._clear(upload.key, there, file)
            with suppress(FileExists):
                self._store.complete(upload, parts, overwrite=False)
                return True
        raise StorageUnavailable("The place of an object that is to be moved does not get free.")

    def _clear(self, key: str, found: StoredObject, file: File) -> None:
        made_for = found.metadata.get(META_FILE_ID)
        # An attempt at this very file, which lies elsewhere, has left it.
        if made_for != file.id and not self._is_left_behind(made_for, key):
            raise FileExists(f"An object of somebody else's is in the bucket as '{key}'.")
        self._store.delete(key, if_etag=found.etag)

    def _is_left_behind(self, file_id: str | None, key: str) -> bool:
        if file_id is None:
            return False
        with self._database.transaction() as connection:
            return lookups.is_left_behind(connection, file_id, key)


def _is_copy(found: StoredObject, file: File) -> bool:
    """Return whether an object is what a mover made of a file's."""
    return (
        found.metadata.get(META_FILE_ID) == file.id
        and META_ATTEMPT not in found.metadata
        and found.size_bytes == file.filesize_bytes
    )
