"""The sweep on real PostgreSQL and a real object store: what nobody will complete is aborted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from ingest.config import Settings
from ingest.errors import StorageUnavailable
from ingest.ids import Prefix, make_id
from ingest.model import Lease, Project, Task
from ingest.urls import UPLOADS_PREFIX
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders, Upload
from storage.records import (
    completions,
    decisions,
    leases,
    leftovers,
    lookups,
    tasks,
    uploads,
)
from storage.records.completions import Completion
from storage.records.database import Database
from storage.records.tables import tasks as table
from storage.signals import Signals
from tests.integration.examples import Claim, MakeTask, make_file
from workers.placement import META_ATTEMPT, META_FILE_ID
from workers.sweep import Sweeper

PLAIN = ObjectHeaders("video/mp4", "inline", {})


@pytest.fixture
def folder() -> str:
    """A place in the bucket that is this test's own."""
    return f"sweep-{secrets.token_hex(4)}"


@pytest.fixture
def sweeper(
    records: Database, signals: Signals, store: S3ObjectStore, settings: Settings
) -> Sweeper:
    return Sweeper(records, signals, store, settings)


@pytest.fixture
def strays(store: S3ObjectStore) -> Iterator[list[Upload]]:
    """Uploads to be aborted after the test, whatever came of it."""
    begun: list[Upload] = []
    yield begun
    for upload in begun:
        store.abort(upload)


def _begin(
    records: Database, store: S3ObjectStore, lease: Lease, key: str, *, noted: bool = True
) -> Upload:
    metadata = {META_FILE_ID: lease.task.file_id, META_ATTEMPT: str(lease.attempt)}
    with records.transaction() as connection:
        assert uploads.plan(
            connection, lease, key, part_bytes=8, size_bytes=30, etag='"a"', head=b""
        )
    upload = store.begin(key, ObjectHeaders("video/mp4", "inline", metadata))
    if noted:
        with records.transaction() as connection:
            assert uploads.note_begun(connection, lease, upload.upload_id)
    return upload


def _cancel(records: Database, project: Project, task: Task) -> None:
    with records.transaction() as connection:
        assert decisions.cancel(connection, project.id, task.id) is not None


def _list_open(store: S3ObjectStore, folder: str) -> list[Upload]:
    # By key: each store has an order of its own.
    found = (one.upload for one in store.list_uploads(f"{folder}/"))
    return sorted(found, key=lambda upload: upload.key)


def test_the_upload_of_a_task_that_goes_on_stays_and_that_of_a_cancelled_one_goes(
    records: Database,
    store: S3ObjectStore,
    sweeper: Sweeper,
    make_task: MakeTask,
    claim: Claim,
    project: Project,
    folder: str,
    strays: list[Upload],
) -> None:
    running, waiting, gone = make_task(), make_task(), make_task()
    kept = [
        _begin(records, store, claim(running), f"{folder}/running"),
        _begin(records, store, claim(waiting, lease_s=-1), f"{folder}/waiting"),
    ]
    strays += kept
    _begin(records, store, claim(gone), f"{folder}/gone")
    _cancel(records, project, gone)

    sweeper.sweep()
    assert sweeper.sweep_store() == 1

    assert _list_open(store, folder) == kept
    assert sweeper.sweep_store() == 0


def test_an_upload_that_was_begun_and_never_noted_is_found_by_its_key(
    records: Database,
    store: S3ObjectStore,
    sweeper: Sweeper,
    make_task: MakeTask,
    claim: Claim,
    folder: str,
    strays: list[Upload],
) -> None:
    key = f"{folder}/a.mp4"
    _begin(records, store, claim(make_task(), lease_s=-1), key, noted=False)
    # Another key that begins like it is somebody else's.
    strays.append(store.begin(f"{key}.part", PLAIN))
    assert sweeper.sweep_store() == 0
    sweeper.sweep()
    assert sweeper.sweep_store() == 1
    assert _list_open(store, folder) == strays


@pytest.fixture
def late(records: Database, signals: Signals, store: S3ObjectStore, settings: Settings) -> Sweeper:
    """A sweeper for whom every lease is over."""
    return Sweeper(records, signals, store, settings.model_copy(update={"lease_s": -1.0}))


def _store(store: S3ObjectStore, lease: Lease, key: str, content: bytes = b"content") -> str:
    """Store an object as that attempt would; return its key."""
    metadata = {META_FILE_ID: lease.task.file_id, META_ATTEMPT: str(lease.attempt)}
    store.put(key, content, ObjectHeaders("video/mp4", "inline", metadata), overwrite=True)
    return key


def _is_marked(records: Database, task: Task) -> bool:
    with records.transaction() as connection:
        marked: bool = connection.execute(
            select(table.c.left_object).where(table.c.id == task.id)
        ).scalar_one()
    return marked


def test_what_a_cancelled_task_had_completed_already_is_deleted(
    records: Database,
    store: S3ObjectStore,
    sweeper: Sweeper,
    late: Sweeper,
    make_task: MakeTask,
    claim: Claim,
    project: Project,
) -> None:
    task, key = make_task("done.mp4"), "prefix/folder/done.mp4"
    upload = _begin(records, store, claim(task), key)
    store.complete(upload, [store.put_part(upload, 1, b"content")], overwrite=False)
    _cancel(records, project, task)

    # Its worker may be at it still.
    sweeper.sweep_store()
    assert store.describe(key) is not None
    assert late.sweep_store() == 1
    assert store.describe(key) is None
    assert not _is_marked(records, task)


def test_an_object_of_a_task_whose_last_attempt_lost_its_worker_is_deleted(
    records: Database, store: S3ObjectStore, late: Sweeper, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task(max_attempts=1)
    lease = claim(task, lease_s=-1)
    key = _store(store, lease, f"prefix/folder/{task.file_id}.mp4")
    other = _store(store, lease, f"prefix/folder/{task.file_id}-not.mp4")

    assert late.sweep_store() == 0
    late.sweep()
    assert late.sweep_store() == 1

    assert store.describe(key) is None
    assert store.describe(other) is not None
    store.delete(other)


def test_of_posters_only_the_one_of_a_file_is_left(
    records: Database, store: S3ObjectStore, late: Sweeper, make_task: MakeTask, claim: Claim
) -> None:
    """The name is told by the order, and the poster's by the file's id."""
    dead, done = make_task("dead.mp4", max_attempts=1), make_task("done.mp4", max_attempts=2)
    with records.transaction() as connection:
        connection.execute(update(table).values(poster=True))
    left = [
        _store(store, claim(dead, lease_s=-1), f"prefix/folder/{dead.file_id}.poster.jpg"),
        _store(store, claim(done, lease_s=-1), f"prefix/folder/{done.file_id}.mp4"),
    ]
    late.sweep()
    lease = claim(done)
    kept = _store(store, lease, f"prefix/folder/{done.file_id}.poster.jpg")
    with records.transaction() as connection:
        file = replace(make_file(lease), poster_key=kept)
        assert completions.complete(connection, lease, file, 7) is Completion.DONE

    assert late.sweep_store() == 2

    assert [store.describe(key) for key in left] == [None, None]
    assert store.describe(kept) is not None
    store.delete(kept)


@pytest.mark.parametrize("beside", [{"poster": True}, {"overwrites": True}])
def test_a_folder_that_leaves_no_room_for_an_own_name_holds_up_no_sweep(
    records: Database,
    store: S3ObjectStore,
    late: Sweeper,
    make_task: MakeTask,
    claim: Claim,
    beside: dict[str, bool],
) -> None:
    tight, task = make_task("tight.mp4", max_attempts=1), make_task("room.mp4", max_attempts=1)
    folder = "/".join(["f" * 99] * 10)
    with records.transaction() as connection:
        wanted = update(table).where(table.c.id == tight.id)
        connection.execute(wanted.values(folder=folder, **beside))
    left = [
        _store(store, claim(tight, lease_s=-1), f"prefix/{folder}/tight.mp4"),
        _store(store, claim(task, lease_s=-1), "prefix/folder/room.mp4"),
    ]
    late.sweep()

    assert late.sweep_store() == 2

    assert [store.describe(key) for key in left] == [None, None]
    assert not _is_marked(records, tight)


def test_of_a_task_that_is_complete_only_what_no_file_names_is_deleted(
    records: Database, store: S3ObjectStore, late: Sweeper, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    left = _store(store, claim(task, lease_s=-1), f"prefix/folder/{task.file_id}.jpg")
    late.sweep()
    lease = claim(task)
    kept = _store(store, lease, f"prefix/folder/{task.file_id}.mp4")
    with records.transaction() as connection:
        file = replace(make_file(lease), object_key=kept)
        assert completions.complete(connection, lease, file, 7) is Completion.DONE

    assert late.sweep_store() == 1

    assert store.describe(left) is None
    assert store.describe(kept) is not None
    assert late.sweep_store() == 0
    store.delete(kept)


def test_what_a_retry_has_stored_since_is_not_deleted(
    records: Database,
    store: S3ObjectStore,
    late: Sweeper,
    make_task: MakeTask,
    claim: Claim,
    project: Project,
) -> None:
    task = make_task("again.mp4")
    lease = claim(task)
    _cancel(records, project, task)
    with records.transaction() as connection:
        (ended,) = leftovers.list_untidy(connection, after_s=-1)
        assert decisions.reopen(connection, project.id, task.id, None, woken=False) is not None
    key = _store(store, claim(task), "prefix/folder/again.mp4")

    # As a sweeper would that was slow.
    assert late._delete(ended, key) is False
    with records.transaction() as connection:
        leftovers.note_tidied(connection, ended)
    assert _is_marked(records, task)
    store.delete(_store(store, lease, key))


def test_an_object_that_is_not_the_tasks_own_is_never_deleted(
    records: Database,
    store: S3ObjectStore,
    late: Sweeper,
    make_task: MakeTask,
    claim: Claim,
    project: Project,
) -> None:
    task, key = make_task("replaced.mp4"), "prefix/folder/replaced.mp4"
    claim(task)
    store.put(key, b"content", PLAIN, overwrite=False)
    _cancel(records, project, task)

    assert late.sweep_store() == 0
    assert store.describe(key) is not None
    store.delete(key)


@pytest.mark.parametrize("left", ["an object", "nothing"])
@pytest.mark.parametrize("end", ["fails", "waits"])
def test_an_attempt_that_may_have_left_an_object_says_so(
    end: str, left: str, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task, error, left_object = make_task(), StorageUnavailable("Gone."), left == "an object"
    lease = claim(task)
    with records.transaction() as connection:
        if end == "fails":
            assert tasks.fail(connection, lease, error, 0, left_object=left_object)
        else:
            assert tasks.retry_later(
                connection, lease, error, 0, after_s=0, charged=True, left_object=left_object
            )
    assert _is_marked(records, task) is left_object


def test_old_uploads_under_our_keys_are_swept_and_those_of_others_never(
    records: Database,
    signals: Signals,
    store: S3ObjectStore,
    settings: Settings,
    make_task: MakeTask,
    folder: str,
    strays: list[Upload],
) -> None:
    ours = store.begin(f"{folder}/{make_task().file_id}.mp4", PLAIN)
    strays += [store.begin(f"{folder}/theirs.mp4", PLAIN), ours]
    later = datetime.now(UTC) + timedelta(hours=2)

    assert Sweeper(records, signals, store, settings).sweep_store() == 0
    assert Sweeper(records, signals, store, settings, lambda: later).sweep_store() == 1
    assert _list_open(store, folder) == strays[:1]


def test_sweepers_who_work_at_once_do_each_other_no_harm(
    records: Database,
    store: S3ObjectStore,
    sweeper: Sweeper,
    make_task: MakeTask,
    claim: Claim,
    project: Project,
    folder: str,
) -> None:
    for number in range(6):
        task = make_task()
        _begin(records, store, claim(task), f"{folder}/{number}")
        _cancel(records, project, task)
    with ThreadPoolExecutor(3) as pool:
        swept = list(pool.map(lambda _: sweeper.sweep_store(), range(3)))
    assert sum(swept) >= 6
    assert _list_open(store, folder) == []


def test_a_store_that_is_away_loses_no_row(
    records: Database,
    signals: Signals,
    settings: Settings,
    store: S3ObjectStore,
    make_task: MakeTask,
    claim: Claim,
    project: Project,
    closed_port: int,
    folder: str,
) -> None:
    task = make_task()
    _begin(records, store, claim(task), f"{folder}/a.mp4")
    _cancel(records, project, task)
    away = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{closed_port}"})
    gone = s3.connect(away, pool_size=1, patience=s3.BRISK)
    with pytest.raises(StorageUnavailable):
        Sweeper(records, signals, gone, settings).sweep_store()
    assert Sweeper(records, signals, store, settings).sweep_store() == 1
    with records.transaction() as connection:
        assert lookups.get(connection, project.id, task.id) is not None
        assert leases.release_expired(connection) == {}


def test_what_was_sent_is_dropped_once_its_task_has_ended_or_never_came(
    records: Database, store: S3ObjectStore, sweeper: Sweeper, settings: Settings,
    project: Project, make_task: MakeTask, signals: Signals,
) -> None:  # fmt: skip
    pending, cancelled = make_task(), make_task()
    _cancel(records, project, cancelled)
    now = datetime.now(UTC)
    within = timedelta(seconds=settings.total_timeout_s, hours=1)
    young, old = make_id(Prefix.FILE, now), make_id(Prefix.FILE, now - within)
    keys = {
        one: UPLOADS_PREFIX + one for one in (pending.file_id, cancelled.file_id, young, old, "x")
    }
    for key in keys.values():
        store.put(key, b"sent", PLAIN, overwrite=True)
    upload = store.begin(UPLOADS_PREFIX + young, PLAIN)

    sweeper.sweep_store()

    there = set(store.list_keys(UPLOADS_PREFIX)) & set(keys.values())
    assert there == {keys[pending.file_id], keys[young], keys["x"]}
    # One that takes its hours is not taken for a stray, and is one in the end.
    later = Sweeper(records, signals, store, settings, lambda: now + timedelta(hours=2))
    later.sweep_store()
    assert upload in [one.upload for one in store.list_uploads(UPLOADS_PREFIX)]
    later = Sweeper(records, signals, store, settings, lambda: now + within + timedelta(minutes=1))
    later.sweep_store()
    assert upload not in [one.upload for one in store.list_uploads(UPLOADS_PREFIX)]
    there = set(store.list_keys(UPLOADS_PREFIX)) & set(keys.values())
    assert there == {keys[pending.file_id], keys["x"]}
    for key in there:
        store.delete(key)
