"""Clean-up after what died: leases that ran out, uploads and objects that nobody will name.

Invariants: any number of sweepers may run at once, and what one does another may do again; what a
task may still go on with is left alone; so is everything in the bucket that is not Headrace's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from ingest.config import Settings
from ingest.errors import FieldInvalid, RedisUnavailable
from ingest.ids import Prefix, is_id, read_time
from ingest.logs import get_logger
from ingest.naming import make_key
from ingest.states import ENDED
from ingest.urls import UPLOADS_PREFIX
from storage.objects.store import ObjectStore, PendingUpload, Upload
from storage.records import batches, idempotency, leases, leftovers, uploads
from storage.records.database import Database
from storage.records.leftovers import EndedTask
from storage.records.uploads import DeadUpload
from storage.signals import End, Signals
from workers.placement import is_left_by

# Younger uploads that no row accounts for may be noted in a moment.
_STRANGE_AFTER = timedelta(hours=1)
_BATCH = 100
# As long as docs/api.md says.
_KEYS_KEPT = timedelta(hours=24)
_KEYS_AT_ONCE = 1000
_DRY_RUNS_KEPT = timedelta(days=7)
_DRY_RUNS_AT_ONCE = 10


class Sweeper:
    """Cleans up.

    Args:
        now: the time, aware; uploads in the store are dated by the store's clock.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        store: ObjectStore,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._signals = signals
        self._store = store
        self._keep_s = settings.resume_keep_s
        # By then a worker that lost its task knows it, and has let go.
        self._let_go_s = settings.lease_s
        # From its first byte to its task; the database may have to be waited for, too.
        self._sent_within = timedelta(seconds=settings.total_timeout_s) + _STRANGE_AFTER
        self._now = now

    def forget_keys(self) -> int:
        """Forget the answers that are kept by Idempotency-Key for longer than a day.

        Returns:
            How many there were.

        Raises:
            DatabaseUnavailable: what is left is done by the next call.
        """
        total, count = 0, _KEYS_AT_ONCE
        while count == _KEYS_AT_ONCE:
            with self._database.transaction() as connection:
                count = idempotency.forget_older(connection, _KEYS_KEPT, _KEYS_AT_ONCE)
            total += count
        return total

    def forget_dry_runs(self) -> int:
        """Forget dry runs that ended a week ago, a few at once; return how many.

        Raises:
            DatabaseUnavailable: what is left is done by the next call.
        """
        total, count = 0, _DRY_RUNS_AT_ONCE
        while count == _DRY_RUNS_AT_ONCE:
            with self._database.transaction() as connection:
                count = batches.forget_dry_runs(connection, _DRY_RUNS_KEPT, _DRY_RUNS_AT_ONCE)
            total += count
        return total

    def sweep(self) -> int:
        """Release every expired lease; return how many there were.

        Raises:
            DatabaseUnavailable: nothing was changed; the next call does it.
        """
        with self._database.transaction() as connection:
            released = leases.release_expired(connection)
        for task_id, status in released.items():
            get_logger(__name__).warning("sweep.lease_expired", task_id=task_id, status=status)
            if status in ENDED:
                with suppress(RedisUnavailable):
                    self._signals.announce_end(End(task_id))
        if released:
            with suppress(RedisUnavailable):
                self._signals.nudge()
        return len(released)

    def sweep_store(self) -> int:
        """Remove what nobody will complete or name; return how many uploads and objects there were.

        Raises:
            DatabaseUnavailable, StorageUnavailable: what is left is done by the next call.
        """
        return (
            self._abort_dead() + self._abort_strange() + self._delete_left() + self._drop_uploads()
        )

    def _abort_dead(self) -> int:
        count = 0
        while True:
            with self._database.transaction() as connection:
                found = uploads.list_dead(connection, self._keep_s, _BATCH)
            for dead in found:
                count += self._abort(dead)
            if len(found) < _BATCH:
                return count

    def _abort(self, dead: DeadUpload) -> int:
        if dead.upload_id is not None:
            open_uploads = [Upload(dead.object_key, dead.upload_id)]
        else:
            open_uploads = self._find_strange(self._store.list_uploads(dead.object_key), dead)
        for upload in open_uploads:
            self._store.abort(upload)
        with self._database.transaction() as connection:
            uploads.drop(connection, dead.task_id, dead.begun_by)
        get_logger(__name__).info("sweep.upload_aborted", task_id=dead.task_id, key=dead.object_key)
        return len(open_uploads)

    def _find_strange(self, listed: Iterable[PendingUpload], dead: DeadUpload) -> list[Upload]:
        there = [one.upload for one in listed if one.upload.key == dead.object_key]
        with self._database.transaction() as connection:
            known = uploads.list_known(connection, [upload.upload_id for upload in there])
        return [upload for upload in there if upload.upload_id not in known]

    def _abort_strange(self) -> int:
        count = 0
        latest = self._now() - _STRANGE_AFTER
        old = (one.upload for one in self._store.list_uploads() if one.begun < latest)
        while batch := {upload.upload_id: upload for upload in islice(old, _BATCH)}:
            with self._database.transaction() as connection:
                strange = uploads.list_strange(
                    connection, {upload_id: one.key for upload_id, one in batch.items()}
                )
            for upload_id in strange:
                self._store.abort(batch[upload_id])
                get_logger(__name__).warning("sweep.stray_aborted", key=batch[upload_id].key)
                count += 1
        return count

    def _drop_uploads(self) -> int:
        """Delete what was sent and nobody needs: its task has ended, or there will be none."""
        count = 0
        latest = self._now() - self._sent_within
        for one in self._store.list_uploads(UPLOADS_PREFIX):
            if one.begun < latest:
                self._store.abort(one.upload)
                get_logger(__name__).warning("sweep.stray_aborted", key=one.upload.key)
                count += 1
        sent = self._store.list_keys(UPLOADS_PREFIX)
        while keys := list(islice(sent, _BATCH)):
            by_file = {key.removeprefix(UPLOADS_PREFIX): key for key in keys}
            ours = {one: key for one, key in by_file.items() if is_id(Prefix.FILE, one)}
            with self._database.transaction() as connection:
                ended = leftovers.find_ends(connection, list(ours))
            for file_id, key in ours.items():
                if ended.get(file_id, read_time(file_id) < latest):
                    self._store.delete(key)
                    get_logger(__name__).info("sweep.upload_dropped", key=key)
                    count += 1
        return count

    def _delete_left(self) -> int:
        count = 0
        while True:
            with self._database.transaction() as connection:
                found = leftovers.list_untidy(connection, self._let_go_s, _BATCH)
            for task in found:
                keys = [key for key in self._list_keys(task) if key not in task.kept_keys]
                count += sum(self._delete(task, key) for key in keys)
                with self._database.transaction() as connection:
                    leftovers.note_tidied(connection, task)
            if len(found) < _BATCH:
                return count

    def _list_keys(self, task: EndedTask) -> Iterable[str]:
        """Return every key under which an attempt at a task may have stored an object."""
        named = []
        if task.filename is not None:
            named = [make_key(task.key_prefix, task.folder, task.filename)]
            if not (task.overwrites or task.poster):
                return named
        try:
            stem = make_key(task.key_prefix, task.folder, task.file_id)
        except FieldInvalid:
            # The folder leaves no room for it: nothing can have been stored there.
            return named
        # Named by what it turned out to be, and two attempts may have seen different files.
        return chain(named, self._store.list_keys(f"{stem}."))

    def _delete(self, task: EndedTask, key: str) -> bool:
        found = self._store.describe(key)
        if found is None or not is_left_by(found, task.file_id, task.attempt):
            return False
        get_logger(__name__).warning("sweep.object_deleted", task_id=task.task_id, key=key)
        return self._store.delete(key, if_etag=found.etag)
