"""Movers that run at the same time, come late or are killed: no object is lost, none is left."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import func, text, update

from ingest.config import Settings
from ingest.errors import FileExists, StorageUnavailable
from ingest.model import File, Order, Project
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders, Part, Upload
from storage.records import decisions, files, moves, names, tasks
from storage.records.completions import Completion, complete
from storage.records.database import Database
from storage.records.tables import names as names_table
from tests.integration.examples import Claim, MakeTask, list_names, make_file
from tests.support.waiting import wait_until
from workers.moving import Mover
from workers.placement import META_ATTEMPT, META_FILE_ID

LIMIT_S = 20.0
CONTENT = b"what is in the file"


@pytest.fixture
def place() -> str:
    """A place in the bucket that is this test's own."""
    return f"moves-{secrets.token_hex(4)}"


@pytest.fixture
def own_store(settings: Settings) -> S3ObjectStore:
    """A store whose methods a test may replace."""
    return s3.connect(settings, pool_size=4)


@pytest.fixture
def mover(records: Database, own_store: S3ObjectStore, settings: Settings) -> Mover:
    return Mover(records, own_store, settings)


@pytest.fixture
def other_mover(records: Database, store: S3ObjectStore, settings: Settings) -> Mover:
    return Mover(records, store, settings)


@pytest.fixture
def make_stored(
    records: Database, store: S3ObjectStore, make_task: MakeTask, claim: Claim, place: str
) -> Callable[[str], File]:
    """Makes a file of a name, whose object is in the bucket."""

    def make(name: str) -> File:
        task = make_task()
        lease = claim(task)
        key = f"{place}/{name}"
        made = replace(make_file(lease), object_key=key, filesize_bytes=len(CONTENT))
        metadata = {META_FILE_ID: made.id, META_ATTEMPT: "1"}
        store.put(key, memoryview(CONTENT), ObjectHeaders("video/mp4", "inline", metadata),
                  overwrite=False, sha256=None)  # fmt: skip
        with records.transaction() as connection:
            assert complete(connection, lease, made, 10) is not Completion.LEASE_LOST
        return _read(records, made)

    return make


@pytest.fixture
def held(
    own_store: S3ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Holds the first mover before it makes its copy visible: what tells that it is there, and
    what lets it go on."""
    came, goes_on = threading.Event(), threading.Event()
    complete_upload = own_store.complete

    def hold(upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        came.set()
        assert goes_on.wait(LIMIT_S)
        complete_upload(upload, parts, overwrite=overwrite)

    monkeypatch.setattr(own_store, "complete", hold)
    yield came, goes_on
    goes_on.set()


@contextmanager
def _amid_move(
    mover: Mover, file: File, held: tuple[threading.Event, threading.Event]
) -> Iterator[None]:
    """Do something while a mover is about to make its copy visible, which then goes on."""
    came, goes_on = held
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(mover.move, file.task_id)
        assert came.wait(LIMIT_S)
        yield
        goes_on.set()
        moving.result(LIMIT_S)


def _read(records: Database, file: File) -> File:
    with records.transaction() as connection:
        found = files.get(connection, file.project_id, file.id)
    assert found is not None
    return found


def _rename(records: Database, file: File, key: str) -> File:
    with records.transaction() as connection:
        locked = files.lock(connection, file.project_id, file.id)
        assert locked is not None
        files.rename(connection, locked, None, key.rpartition("/")[2], key)
    return _read(records, file)


def _delete(records: Database, store: S3ObjectStore, file: File) -> None:
    with records.transaction() as connection:
        gone = files.remove(connection, file.project_id, file.id)
        assert gone is not None
        store.delete(gone.stored_key)


def _list_keys(store: S3ObjectStore, place: str) -> list[str]:
    return sorted(key.removeprefix(f"{place}/") for key in store.list_keys(f"{place}/"))


def _forget_lease(records: Database, task_id: str) -> None:
    """Take a mover for dead: its lease has run out."""
    with records.transaction() as connection:
        connection.execute(
            update(names_table)
            .where(names_table.c.task_id == task_id)
            .values(due_at=func.now(), moving_until=None)
        )


def _claim(records: Database) -> str | None:
    with records.transaction() as connection:
        return moves.claim(connection, 60)


def test_one_mover_at_a_time_has_what_a_task_has_left(
    records: Database, make_stored: Callable[[str], File], place: str
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    _rename(records, file, f"{place}/c")

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: _claim(records), range(8)))

    assert sorted(claimed, key=str) == [None] * 7 + [file.task_id]
    _forget_lease(records, file.task_id)
    assert _claim(records) == file.task_id


def test_a_name_that_is_left_amid_a_move_waits_for_the_end_of_that_alone(
    records: Database,
    mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    held: tuple[threading.Event, threading.Event],
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    assert _claim(records) == file.task_id
    with _amid_move(mover, file, held):
        # The name that was claimed is the file's again, and is left again only afterwards.
        _rename(records, file, f"{place}/a")
        assert _claim(records) is None
    _rename(records, file, f"{place}/c")

    assert _claim(records) == file.task_id
    mover.move(file.task_id)
    assert _list_keys(store, place) == ["c"]


def test_movers_that_move_one_file_at_the_same_time_leave_one_object(
    records: Database,
    mover: Mover,
    other_mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    place: str,
) -> None:
    file = make_stored("0")
    with ThreadPoolExecutor(2) as pool:
        for number in range(1, 11):
            _rename(records, file, f"{place}/{number}")
            list(pool.map(lambda one: one.move(file.task_id), [mover, other_mover]))
            assert _read(records, file).stored_key == f"{place}/{number}"
            assert _list_keys(store, place) == [str(number)]
            assert list_names(records) == [f"{place}/{number}"]


def test_a_mover_that_comes_late_finds_the_copy_of_another_and_makes_none(
    records: Database,
    mover: Mover,
    other_mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    held: tuple[threading.Event, threading.Event],
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    with _amid_move(mover, file, held):
        other_mover.move(file.task_id)
        moved = store.describe(f"{place}/b")

    assert store.describe(f"{place}/b") == moved
    assert _list_keys(store, place) == ["b"]
    assert list(store.list_uploads(f"{place}/")) == []
    assert list_names(records) == [f"{place}/b"]


def test_a_file_that_gets_its_old_name_again_keeps_its_object_whatever_was_begun(
    records: Database,
    mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    held: tuple[threading.Event, threading.Event],
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    with _amid_move(mover, file, held):
        _rename(records, file, f"{place}/a")

    assert _read(records, file).stored_key == f"{place}/a"
    assert _list_keys(store, place) == ["a"]
    assert list_names(records) == [f"{place}/a"]


def test_a_name_that_is_left_is_not_cleared_once_the_file_is_called_so_again(
    records: Database,
    mover: Mover,
    other_mover: Mover,
    own_store: S3ObjectStore,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    describe = own_store.describe
    came, goes_on = threading.Event(), threading.Event()

    def hold(key: str) -> object:
        found = describe(key)
        # The copy is there and noted, and what lies under the old name is to be deleted.
        if key == f"{place}/a" and _read(records, file).lies_at is None:
            came.set()
            assert goes_on.wait(LIMIT_S)
        return found

    monkeypatch.setattr(own_store, "describe", hold)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(mover.move, file.task_id)
        assert came.wait(LIMIT_S)
        _rename(records, file, f"{place}/a")
        other_mover.move(file.task_id)
        _rename(records, file, f"{place}/c")
        goes_on.set()
        late.result(LIMIT_S)

    assert _read(records, file).stored_key == f"{place}/a"
    assert "a" in _list_keys(store, place)
    other_mover.move(file.task_id)
    assert _list_keys(store, place) == ["c"]
    assert list_names(records) == [f"{place}/c"]


def test_what_was_moved_from_a_name_of_its_own_stays_for_those_who_were_led_there(
    records: Database,
    mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    place: str,
) -> None:
    # As of a file that took the place of another, and of one that had no name.
    stored = make_stored("a")
    own = f"{stored.id}.mp4"
    _rename(records, stored, f"{place}/{own}")
    mover.move(stored.task_id)
    _rename(records, stored, f"{place}/b")
    mover.move(stored.task_id)
    assert _list_keys(store, place) == sorted(["b", own])
    assert _claim(records) is None

    _forget_lease(records, stored.task_id)
    assert _claim(records) == stored.task_id
    mover.move(stored.task_id)

    assert _list_keys(store, place) == ["b"]
    assert list_names(records) == [f"{place}/b"]


def test_what_was_moved_goes_at_once_with_its_file(
    records: Database,
    mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    place: str,
) -> None:
    stored = make_stored("a")
    _rename(records, stored, f"{place}/{stored.id}.mp4")
    mover.move(stored.task_id)
    file = _rename(records, stored, f"{place}/b")
    mover.move(stored.task_id)

    _delete(records, store, file)

    assert _claim(records) == stored.task_id
    mover.move(stored.task_id)
    assert _list_keys(store, place) == []
    assert list_names(records) == []


def test_a_file_that_is_deleted_before_it_is_copied_leaves_nothing_to_wait_for(
    records: Database,
    mover: Mover,
    own_store: S3ObjectStore,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    assert _claim(records) == file.task_id
    describe = own_store.describe

    def delete_first(key: str) -> object:
        if key == f"{place}/b" and _list_keys(store, place) == ["a"]:
            _delete(records, store, file)
        return describe(key)

    monkeypatch.setattr(own_store, "describe", delete_first)
    mover.move(file.task_id)

    assert _list_keys(store, place) == []
    assert list_names(records) == []


def test_a_move_that_fails_is_tried_again_soon_and_not_at_once(
    records: Database,
    own_store: S3ObjectStore,
    make_stored: Callable[[str], File],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    tried = threading.Event()

    def refuse(upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        tried.set()
        raise StorageUnavailable("Not now.")

    monkeypatch.setattr(own_store, "complete", refuse)
    assert Mover(records, own_store, settings).start_due() == 1
    assert tried.wait(LIMIT_S)

    def read_wait() -> float | None:
        with records.transaction() as connection:
            query = text(
                "SELECT extract(epoch FROM due_at - now()) FROM names"
                " WHERE leaves AND moving_until IS NULL"
            )
            return connection.execute(query).scalar_one_or_none()

    wait_s = wait_until(read_wait, "the end of the move", LIMIT_S)
    assert 0 < wait_s <= 30
    assert _claim(records) is None
    assert _read(records, file).lies_at == f"{place}/a"


def test_what_a_mover_copied_of_a_file_that_was_deleted_meanwhile_is_deleted_too(
    records: Database,
    mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    held: tuple[threading.Event, threading.Event],
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    with _amid_move(mover, file, held):
        _delete(records, store, file)

    assert _list_keys(store, place) == []
    assert list_names(records) == []


def test_what_was_copied_to_a_name_that_was_handed_on_and_freed_is_deleted_too(
    records: Database,
    mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    held: tuple[threading.Event, threading.Event],
    project: Project,
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    order = Order("http://source.invalid/b", None, "b", None, None, None, None, overwrites=True)
    with _amid_move(mover, file, held):
        with records.transaction() as connection:
            task = tasks.create(connection, project, order, object_key=f"{place}/b",
                                max_attempts=1, request_id="req_tests", woken=False)  # fmt: skip
        _delete(records, store, file)
        with records.transaction() as connection:
            assert decisions.cancel(connection, project.id, task.id)

    assert list_names(records) == []
    assert _list_keys(store, place) == []


def test_a_copy_that_came_too_late_is_in_nobodys_way(
    records: Database,
    mover: Mover,
    other_mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    place: str,
) -> None:
    moved = _rename(records, make_stored("a"), f"{place}/c")
    other_mover.move(moved.task_id)
    # What a mover leaves that was taken for dead while the file was still to be called `b`.
    store.put(f"{place}/b", memoryview(CONTENT),
              ObjectHeaders("video/mp4", "inline", {META_FILE_ID: moved.id}),
              overwrite=False, sha256=None)  # fmt: skip

    other = _rename(records, make_stored("d"), f"{place}/b")
    mover.move(other.task_id)

    assert _list_keys(store, place) == ["b", "c"]
    found = store.describe(f"{place}/b")
    assert found is not None
    assert found.metadata[META_FILE_ID] == other.id


def test_an_object_of_somebody_elses_stays_and_the_file_is_read_where_it_lies(
    records: Database,
    mover: Mover,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")
    store.put(f"{place}/b", memoryview(b"a stranger's"), ObjectHeaders("text/plain", "inline", {}),
              overwrite=False, sha256=None)  # fmt: skip

    with pytest.raises(FileExists, match="somebody else's"):
        mover.move(file.task_id)

    assert _read(records, file).stored_key == f"{place}/a"
    assert _list_keys(store, place) == ["a", "b"]
    found = store.describe(f"{place}/b")
    assert found is not None
    assert found.size_bytes == len(b"a stranger's")


def test_a_store_that_fails_amid_a_move_has_it_done_later(
    records: Database,
    mover: Mover,
    own_store: S3ObjectStore,
    store: S3ObjectStore,
    make_stored: Callable[[str], File],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    file = _rename(records, make_stored("a"), f"{place}/b")

    def refuse(upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        raise StorageUnavailable("Not now.")

    with monkeypatch.context() as patch:
        patch.setattr(own_store, "complete", refuse)
        with pytest.raises(StorageUnavailable):
            mover.move(file.task_id)
    assert _list_keys(store, place) == ["a"]
    assert list(store.list_uploads(f"{place}/")) == []

    mover.move(file.task_id)

    assert _list_keys(store, place) == ["b"]


def test_two_files_that_want_one_name_are_called_one_each(
    records: Database, make_stored: Callable[[str], File], project: Project, place: str
) -> None:
    stored = [make_stored(str(number)) for number in range(6)]

    def call(file: File) -> bool:
        try:
            _rename(records, file, f"{place}/wanted")
        except FileExists:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        let = list(pool.map(call, stored))

    assert let.count(True) == 1
    with records.transaction() as connection:
        holder = names.find_holder(connection, project.id, f"{place}/wanted")
    assert holder == stored[let.index(True)].task_id
