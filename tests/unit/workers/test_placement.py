"""An attempt knows its own object, whatever the store's answers were."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from ingest.errors import FileExists, StorageUnavailable, UploadLost
from ingest.model import Lease, Order, Task
from ingest.states import Status
from storage.objects.memory import MemoryObjectStore
from storage.objects.store import Content, ObjectHeaders, Part, StoredObject, Upload
from storage.records.database import Database
from workers.placement import META_ATTEMPT, META_FILE_ID, Placement

KEY = "folder/name.mp4"
# Nobody connects to it: only objects of other files are looked up there.
DATABASE = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")


class ForgetfulStore(MemoryObjectStore):
    """Does what it is asked, and loses the answer once."""

    def __init__(self) -> None:
        super().__init__()
        self.answers_to_lose = 1

    def put(
        self,
        key: str,
        body: Content,
        headers: ObjectHeaders,
        *,
        overwrite: bool,
        sha256: str | None = None,
    ) -> None:
        """Store; the second request of a client that heard nothing finds its own object."""
        super().put(key, body, headers, overwrite=overwrite, sha256=sha256)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            super().put(key, body, headers, overwrite=overwrite, sha256=sha256)

    def complete(self, upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        """Complete; the upload is gone when a client that heard nothing asks again."""
        super().complete(upload, parts, overwrite=overwrite)
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise StorageUnavailable("There is no such upload.")


class AskedStore(MemoryObjectStore):
    """Counts how often it is asked for an object."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def describe(self, key: str) -> StoredObject | None:
        """Look, and count."""
        self.looks += 1
        return super().describe(key)


class LateStore(MemoryObjectStore):
    """Completes in the moment after it was first looked at, as an attempt taken for dead may."""

    def __init__(self) -> None:
        super().__init__()
        self.late: list[tuple[Upload, Sequence[Part]]] = []

    def describe(self, key: str) -> StoredObject | None:
        """Look, and have the other one complete."""
        found = super().describe(key)
        for upload, parts in self.late:
            self.complete(upload, parts, overwrite=False)
        self.late.clear()
        return found


def make_lease(attempt: int, file_id: str = "file_a") -> Lease:
    now = datetime.now(UTC)
    order = Order("http://a/", "folder", "name.mp4", None, None, None, None)
    task = Task(
        id="task_a",
        project_id="prj_a",
        kind="ingest",
        status=Status.PROCESSING,
        order=order,
        file_id=file_id,
        media_id="med_a",
        attempt=attempt,
        max_attempts=5,
        error=None,
        request_id="req_a",
        created=now,
        started=now,
        finished=None,
        updated=now,
        tries=attempt,
        next_attempt_at=None,
        outage_since=None,
    )
    return Lease(task, "", attempt, "worker")


def place(store: MemoryObjectStore, attempt: int) -> Placement:
    return Placement(store, DATABASE, make_lease(attempt))


def put(placement: Placement, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    placement.put(KEY, content, placement.make_headers("video/mp4", "name.mp4"), sha256)


def test_a_put_whose_answer_was_lost_is_not_taken_for_a_strangers_object() -> None:
    store = ForgetfulStore()
    put(place(store, 1), b"content")
    assert store.read(KEY) == b"content"


def begin(store: MemoryObjectStore, placement: Placement) -> tuple[Upload, list[Part]]:
    upload = store.begin(KEY, placement.make_headers("video/mp4", "name.mp4"))
    return upload, [store.put_part(upload, 1, b"aaaa"), store.put_part(upload, 2, b"cc")]


def test_a_completion_whose_answer_was_lost_counts() -> None:
    store = ForgetfulStore()
    placement = place(store, 1)
    placement.complete(*begin(store, placement), 6)
    assert store.read(KEY) == b"aaaacc"


def test_an_upload_that_a_dead_attempt_completed_after_all_counts() -> None:
    store = MemoryObjectStore()
    first, second = place(store, 1), place(store, 2)
    upload, parts = begin(store, first)
    second.begun_by = 1
    first.complete(upload, parts, 6)
    second.complete(upload, parts, 6)
    assert store.read(KEY) == b"aaaacc"


def test_an_upload_that_a_dead_attempt_completes_in_the_meantime_counts() -> None:
    store = LateStore()
    first, second = place(store, 1), place(store, 2)
    upload, parts = begin(store, first)
    second.begun_by = 1
    store.late.append((upload, parts))
    second.complete(upload, parts, 6)
    assert store.read(KEY) == b"aaaacc"


def test_a_leftover_is_cleared_before_an_upload_is_completed() -> None:
    store = MemoryObjectStore()
    put(place(store, 1), b"first")
    second = place(store, 2)
    second.complete(*begin(store, second), 6)
    assert store.read(KEY) == b"aaaacc"


def test_the_store_is_looked_at_once_before_an_upload_is_completed_and_once_after() -> None:
    store = AskedStore()
    placement = place(store, 1)
    placement.complete(*begin(store, placement), 6)
    assert store.looks == 2


def test_an_object_that_is_there_already_is_looked_at_once() -> None:
    store = AskedStore()
    placement = place(store, 1)
    upload, parts = begin(store, placement)
    store.complete(upload, parts, overwrite=False)
    with pytest.raises(StorageUnavailable):
        placement.complete(upload, parts, 7)
    placement.complete(upload, parts, 6)
    assert store.looks == 2


def test_an_upload_that_is_gone_is_no_object() -> None:
    store = MemoryObjectStore()
    placement = place(store, 1)
    upload, parts = begin(store, placement)
    store.abort(upload)
    with pytest.raises(UploadLost):
        placement.complete(upload, parts, 6)


def test_an_object_of_another_length_than_was_sent_does_not_count() -> None:
    store = MemoryObjectStore()
    placement = place(store, 1)
    with pytest.raises(StorageUnavailable):
        placement.complete(*begin(store, placement), 7)


def test_an_earlier_attempt_left_its_object_and_the_next_one_replaces_it() -> None:
    store = MemoryObjectStore()
    put(place(store, 1), b"first")
    put(place(store, 2), b"second")
    assert store.read(KEY) == b"second"


def test_a_later_attempts_object_is_never_replaced() -> None:
    store = MemoryObjectStore()
    put(place(store, 2), b"second")
    with pytest.raises(FileExists):
        put(place(store, 1), b"first")
    assert store.read(KEY) == b"second"


@pytest.mark.parametrize("attempt", ["", "x", "-1", "2"])
def test_an_object_whose_mark_is_not_of_a_dead_attempt_stays(attempt: str) -> None:
    store = MemoryObjectStore()
    metadata = {META_FILE_ID: "file_a", META_ATTEMPT: attempt}
    store.put(KEY, b"theirs", ObjectHeaders("video/mp4", "inline", metadata), overwrite=True)
    placement = place(store, 1)
    with pytest.raises(FileExists):
        put(placement, b"ours")
    placement.take_back()
    assert store.read(KEY) == b"theirs"


def test_what_was_stored_is_taken_back_and_nothing_else() -> None:
    store = MemoryObjectStore()
    first, second = place(store, 1), place(store, 2)
    put(first, b"first")
    second.take_back()
    assert store.read(KEY) == b"first"
    first.take_back()
    assert store.describe(KEY) is None


POSTER = "folder/file_a.poster.jpg"


def test_a_poster_is_taken_back_with_its_file() -> None:
    store = MemoryObjectStore()
    placement = place(store, 1)
    put(placement, b"content")
    placement.put_poster(POSTER, b"poster")
    found = store.describe(POSTER)
    assert found is not None
    assert (found.content_type, found.metadata[META_FILE_ID]) == ("image/jpeg", "file_a")
    assert placement.may_be_stored
    placement.take_back()
    assert (store.describe(KEY), store.describe(POSTER)) == (None, None)
    assert not placement.may_be_stored


def test_a_poster_that_a_dead_attempt_left_is_replaced_and_a_later_ones_is_not() -> None:
    store = MemoryObjectStore()
    first, second = place(store, 1), place(store, 2)
    first.put_poster(POSTER, b"first")
    # It goes on with what the first began.
    second.begun_by = 1
    second.put_poster(POSTER, b"second")
    assert store.read(POSTER) == b"second"
    with pytest.raises(FileExists):
        first.put_poster(POSTER, b"late")
    first.take_back()
    assert store.read(POSTER) == b"second"
