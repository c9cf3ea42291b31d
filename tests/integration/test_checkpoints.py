"""What an attempt leaves and the next one finds, with records on real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import delete, update

from ingest.errors import DatabaseUnavailable, LeaseLost, StorageUnavailable
from ingest.model import Lease, Project, Task
from storage.objects.memory import MemoryObjectStore
from storage.objects.store import ObjectHeaders, Part, Upload
from storage.records import decisions, leases
from storage.records.database import Database
from storage.records.tables import parts as parts_table
from storage.records.tables import uploads as uploads_table
from tests.integration.examples import Claim, MakeTask
from workers.checkpoints import Checkpoints, Resumption
from workers.checksums import Checksums
from workers.leases import HeldLease

HEADERS = ObjectHeaders("video/mp4", "inline", {})
PART_BYTES = 8
CONTENT = bytes(range(28))
MD5 = "md5:" + "0" * 32


@pytest.fixture
def objects() -> MemoryObjectStore:
    return MemoryObjectStore()


def _hold(lease: Lease, good_until: float = 60) -> HeldLease:
    return HeldLease(lease, lambda: 0.0, good_until)


def _store_parts(
    records: Database,
    objects: MemoryObjectStore,
    lease: Lease,
    count: int,
    *,
    etag: str | None = '"a"',
    size_bytes: int | None = len(CONTENT),
) -> tuple[Upload, list[Part]]:
    checkpoints = Checkpoints(records, objects, _hold(lease), most_part_bytes=PART_BYTES)
    upload = checkpoints.begin(
        "folder/a", HEADERS, part_bytes=PART_BYTES, size_bytes=size_bytes, etag=etag, head=b"head"
    )
    checksums = Checksums(lease.task.order.checksum)
    stored = []
    for number in range(1, count + 1):
        body = bytearray(CONTENT[(number - 1) * PART_BYTES : number * PART_BYTES])
        checksums.update(memoryview(body))
        stored.append(objects.put_part(upload, number, body))
        checkpoints.note(stored[-1], checksums.export())
    return upload, stored


def _die(records: Database, task: Task, claim: Claim) -> Lease:
    """End the lease of a task's attempt; return the next one's."""
    with records.transaction() as connection:
        assert task.id in leases.release_expired(connection)
    return claim(task, "worker-2")


def _find(records: Database, objects: MemoryObjectStore, lease: Lease) -> Resumption | None:
    return Checkpoints(records, objects, _hold(lease), most_part_bytes=PART_BYTES).find()


def test_a_first_attempt_finds_nothing(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    assert _find(records, objects, claim(make_task())) is None


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_next_attempt_goes_on_from_the_parts_that_are_there_but_never_without_asking(
    count: int, records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    upload, _ = _store_parts(records, objects, claim(task, lease_s=-1), count)

    found = _find(records, objects, _die(records, task, claim))

    assert found is not None
    # The last part is fetched again, so that the source is asked whether it is what it was.
    kept = min(count, 3)
    assert (found.upload, found.from_byte, found.completed) == (upload, kept * PART_BYTES, False)
    found.checksums.update(memoryview(CONTENT[kept * PART_BYTES :]))
    whole = Checksums(None)
    whole.update(memoryview(CONTENT))
    assert found.checksums.sha256 == whole.sha256


def _forget_part(objects: MemoryObjectStore, records: Database, upload: Upload) -> None:
    del records
    objects._uploads[upload.upload_id].parts.pop(1)


def _replace_part(objects: MemoryObjectStore, records: Database, upload: Upload) -> None:
    del records
    objects.put_part(upload, 1, b"eight by")


def _lose_upload(objects: MemoryObjectStore, records: Database, upload: Upload) -> None:
    del records
    objects.abort(upload)


def _lose_digests(objects: MemoryObjectStore, records: Database, upload: Upload) -> None:
    del objects, upload
    with records.transaction() as connection:
        connection.execute(update(parts_table).values(digests=None))


def _lose_notes(objects: MemoryObjectStore, records: Database, upload: Upload) -> None:
    del objects, upload
    with records.transaction() as connection:
        connection.execute(delete(parts_table))


def _lose_validator(objects: MemoryObjectStore, records: Database, upload: Upload) -> None:
    del objects, upload
    with records.transaction() as connection:
        connection.execute(update(uploads_table).values(etag=None))


@pytest.mark.parametrize(
    "spoil",
    [_forget_part, _replace_part, _lose_upload, _lose_digests, _lose_notes, _lose_validator],
)
def test_what_cannot_be_verified_is_aborted(
    spoil: Callable[[MemoryObjectStore, Database, Upload], None],
    records: Database,
    objects: MemoryObjectStore,
    make_task: MakeTask,
    claim: Claim,
) -> None:
    task = make_task()
    upload, _ = _store_parts(records, objects, claim(task, lease_s=-1), 2)
    spoil(objects, records, upload)
    lease = _die(records, task, claim)

    assert _find(records, objects, lease) is None

    assert list(objects.list_uploads()) == []
    # Its row is gone with it: this attempt begins its own.
    _store_parts(records, objects, lease, 1)


@pytest.mark.parametrize("wanted", [(False, True), (True, False)], ids=["only now", "only before"])
def test_what_the_store_as_it_is_set_now_could_not_complete_is_aborted(
    wanted: tuple[bool, bool],
    records: Database,
    objects: MemoryObjectStore,
    make_task: MakeTask,
    claim: Claim,
) -> None:
    task = make_task()
    objects.wants_part_checksums = wanted[0]
    _store_parts(records, objects, claim(task, lease_s=-1), 2)
    objects.wants_part_checksums = wanted[1]

    assert _find(records, objects, _die(records, task, claim)) is None

    assert list(objects.list_uploads()) == []


def test_parts_that_were_noted_without_their_checksums_are_sent_again(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    _store_parts(records, objects, claim(task, lease_s=-1), 3)
    with records.transaction() as connection:
        # As before migration 0004, and one part after it.
        old = parts_table.c.number < 3
        connection.execute(update(parts_table).where(old).values(crc32c=None))

    assert _find(records, objects, _die(records, task, claim)) is None

    assert list(objects.list_uploads()) == []


def test_what_is_stored_whole_needs_no_checksums_of_parts(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    objects.wants_part_checksums = False
    upload, stored = _store_parts(records, objects, claim(task, lease_s=-1), 4)
    objects.complete(upload, stored, overwrite=False)
    objects.wants_part_checksums = True

    found = _find(records, objects, _die(records, task, claim))

    assert found is not None
    assert found.completed


@pytest.mark.parametrize(
    ("most_part_bytes", "goes_on"), [(PART_BYTES, True), (PART_BYTES - 1, False)]
)
def test_parts_that_are_longer_than_is_allowed_now_are_not_gone_on_with(
    *,
    most_part_bytes: int,
    goes_on: bool,
    records: Database,
    objects: MemoryObjectStore,
    make_task: MakeTask,
    claim: Claim,
) -> None:
    task = make_task()
    _store_parts(records, objects, claim(task, lease_s=-1), 2)
    held = _hold(_die(records, task, claim))
    found = Checkpoints(records, objects, held, most_part_bytes=most_part_bytes).find()
    assert (found is not None) is goes_on


def test_a_file_that_was_stored_whole_is_not_fetched_again(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    upload, stored = _store_parts(records, objects, claim(task, lease_s=-1), 4)
    objects.complete(upload, stored, overwrite=False)

    found = _find(records, objects, _die(records, task, claim))

    assert found is not None
    assert (found.completed, found.from_byte) == (True, len(CONTENT))


def test_what_no_other_attempt_could_go_on_with_is_not_left(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    for etag, left in (('"a"', 1), (None, 0)):
        held = _hold(claim(make_task()))
        checkpoints = Checkpoints(records, objects, held, most_part_bytes=PART_BYTES)
        checkpoints.begin("k", HEADERS, part_bytes=8, size_bytes=28, etag=etag, head=b"")
        checkpoints.leave()
        assert len(list(objects.list_uploads())) == left
        checkpoints.abandon()
    assert list(objects.list_uploads()) == []


def test_an_attempt_that_lost_its_lease_leaves_the_upload_to_the_one_that_has_it(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    late = Checkpoints(records, objects, _hold(claim(task, lease_s=-1)), most_part_bytes=PART_BYTES)
    upload = late.begin("k", HEADERS, part_bytes=8, size_bytes=28, etag='"a"', head=b"")
    late.note(objects.put_part(upload, 1, CONTENT[:8]), b"digests")
    _die(records, task, claim)

    late.abandon()
    with pytest.raises(LeaseLost):
        late.note(objects.put_part(upload, 2, CONTENT[8:16]), b"digests")
    assert [one.upload for one in objects.list_uploads()] == [upload]


def test_it_is_told_whether_an_upload_is_gone(
    records: Database,
    objects: MemoryObjectStore,
    make_task: MakeTask,
    claim: Claim,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begin(lease_s: float = 30) -> Checkpoints:
        held = _hold(claim(make_task(), lease_s=lease_s))
        checkpoints = Checkpoints(records, objects, held, most_part_bytes=PART_BYTES)
        checkpoints.begin("k", HEADERS, part_bytes=8, size_bytes=28, etag=None, head=b"")
        return checkpoints

    def refuse(_: Upload) -> None:
        raise StorageUnavailable("On purpose.")

    gone = begin()
    assert gone.abandon()
    assert gone.abandon()
    with monkeypatch.context() as patched:
        patched.setattr(objects, "abort", refuse)
        assert not begin().abandon()
    lost = begin()
    with records.transaction() as connection:
        connection.exec_driver_sql("UPDATE uploads SET adopted_by = adopted_by + 1")
    assert not lost.abandon()


def test_a_cancelled_tasks_upload_is_aborted_by_its_attempt(
    records: Database,
    objects: MemoryObjectStore,
    make_task: MakeTask,
    claim: Claim,
    project: Project,
) -> None:
    task = make_task()
    checkpoints = Checkpoints(records, objects, _hold(claim(task)), most_part_bytes=PART_BYTES)
    checkpoints.begin("k", HEADERS, part_bytes=8, size_bytes=28, etag='"a"', head=b"")
    with records.transaction() as connection:
        decisions.cancel(connection, project.id, task.id)
    checkpoints.abandon()
    assert list(objects.list_uploads()) == []


class FlickeringDatabase:
    """A database that is away now and then."""

    def __init__(self, real: Database) -> None:
        self.away = False
        self._real = real

    def transaction(self) -> object:
        """Open a transaction, or not."""
        if self.away:
            raise DatabaseUnavailable("PostgreSQL does not answer.")
        return self._real.transaction()


def test_notes_that_a_silent_database_missed_are_made_up_for(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    flickering = FlickeringDatabase(records)
    checkpoints = Checkpoints(
        flickering,  # type: ignore[arg-type]
        objects,
        _hold(claim(task, lease_s=-1)),
        most_part_bytes=PART_BYTES,
    )
    upload = checkpoints.begin(
        "folder/a", HEADERS, part_bytes=8, size_bytes=28, etag='"a"', head=b""
    )
    checksums = Checksums(None)
    for number in (1, 2, 3):
        body = CONTENT[(number - 1) * 8 : number * 8]
        checksums.update(memoryview(body))
        flickering.away = number == 2
        checkpoints.note(objects.put_part(upload, number, body), checksums.export())
    flickering.away = False

    found = _find(records, objects, _die(records, task, claim))
    assert found is not None
    assert found.from_byte == 24


def test_a_lease_that_runs_out_while_the_database_is_away_ends_the_waiting(
    records: Database, objects: MemoryObjectStore, make_task: MakeTask, claim: Claim
) -> None:
    flickering = FlickeringDatabase(records)
    lease = claim(make_task())
    flickering.away = True
    checkpoints = Checkpoints(
        flickering,  # type: ignore[arg-type]
        objects,
        _hold(lease, good_until=-1),
        most_part_bytes=PART_BYTES,
    )
    with pytest.raises(LeaseLost):
        checkpoints.begin("k", HEADERS, part_bytes=8, size_bytes=28, etag='"a"', head=b"")
    assert list(objects.list_uploads()) == []
