"""What a store tells of uploads that are open, and of those that are gone.

S3 comes twice: in pages as the server likes them, and in pages of two.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from ingest.config import MIB
from ingest.errors import UploadLost
from storage.objects.memory import MemoryObjectStore
from storage.objects.store import ObjectHeaders, ObjectStore, Part, StoredPart, Upload
from tests.contract.conftest import Begin, Read

HEADERS = ObjectHeaders("video/mp4", "inline", {})
PART_BYTES = 5 * MIB
# A key that the upload was not begun for, and an id that no upload ever had.
STRANGE = ("key", "id")


@pytest.fixture(params=["memory", "s3", "s3 in small pages"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryObjectStore()
    if request.param != "s3":
        request.getfixturevalue("small_pages")
    found: ObjectStore = request.getfixturevalue("s3_store")
    return found


@pytest.fixture(params=["aborted", "completed", *STRANGE])
def gone(request: pytest.FixtureRequest, store: ObjectStore, begin: Begin, key: str) -> Upload:
    """An upload that the store does not have any more, or never had."""
    upload = begin(key)
    part = store.put_part(upload, 1, b"content")
    if request.param == "aborted":
        store.abort(upload)
    elif request.param == "completed":
        store.complete(upload, [part], overwrite=False)
        store.delete(key)
    elif request.param == "key":
        return Upload(key + "-other", upload.upload_id)
    else:
        return Upload(key, "0" * len(upload.upload_id))
    return upload


def list_ids(store: ObjectStore, prefix: str) -> list[tuple[str, str]]:
    """Return key and id of what is listed, sorted, for the order is the store's own."""
    listed = [one.upload for one in store.list_uploads(prefix)]
    return sorted((upload.key, upload.upload_id) for upload in listed)


def test_parts_are_listed_by_number(store: ObjectStore, begin: Begin, key: str) -> None:
    upload = begin(key)
    assert store.list_parts(upload) == []

    # Numbers sort otherwise than their digits, and may be left out.
    parts = [store.put_part(upload, number, b"x" * number) for number in (10, 2, 1, 9, 4)]

    assert store.list_parts(upload) == [
        StoredPart(part.number, part.etag, part.number)
        for part in sorted(parts, key=lambda part: part.number)
    ]
    assert len({part.etag for part in parts}) == len(parts)
    assert all((part.crc32c is not None) == store.wants_part_checksums for part in parts)


def test_a_part_that_is_sent_again_unchanged_is_listed_once(
    store: ObjectStore, begin: Begin, key: str
) -> None:
    upload = begin(key)
    first, again = (store.put_part(upload, 1, b"content") for _ in range(2))
    assert first == again
    assert store.list_parts(upload) == [StoredPart(1, again.etag, 7)]


def test_an_upload_that_is_gone_has_no_parts_and_takes_none(
    store: ObjectStore, gone: Upload
) -> None:
    assert store.list_parts(gone) is None
    with pytest.raises(UploadLost) as caught:
        store.put_part(gone, 1, b"late")
    assert caught.value.retryable
    assert store.list_parts(gone) is None


def test_an_upload_that_is_gone_is_not_completed(store: ObjectStore, gone: Upload) -> None:
    with pytest.raises(UploadLost):
        store.complete(gone, [Part(1, "0" * 32)], overwrite=False)
    assert store.describe(gone.key) is None


def test_an_upload_that_is_gone_may_be_aborted(store: ObjectStore, gone: Upload) -> None:
    store.abort(gone)
    assert store.list_parts(gone) is None


def test_an_upload_is_not_completed_from_parts_it_does_not_have(
    store: ObjectStore, begin: Begin, read: Read, key: str
) -> None:
    upload = begin(key)
    first, second = b"a" * PART_BYTES, b"b"
    parts = [store.put_part(upload, 1, first), store.put_part(upload, 2, second)]
    for wrong in (
        [parts[0], Part(2, parts[0].etag)],
        [parts[0], Part(3, parts[1].etag)],
        [Part(7, parts[0].etag)],
    ):
        with pytest.raises(UploadLost):
            store.complete(upload, wrong, overwrite=False)
        assert store.describe(key) is None

    # What is there was not harmed.
    assert [part.number for part in store.list_parts(upload) or []] == [1, 2]
    store.complete(upload, parts, overwrite=False)
    assert read(key) == first + second


def test_an_upload_that_is_completed_again_changes_nothing(
    store: ObjectStore, begin: Begin, read: Read, key: str
) -> None:
    upload = begin(key)
    part = store.put_part(upload, 1, b"content")
    store.complete(upload, [part], overwrite=False)
    with suppress(UploadLost):
        store.complete(upload, [part], overwrite=True)
    assert read(key) == b"content"
    store.put(key, b"other", HEADERS, overwrite=True)
    with pytest.raises(UploadLost):
        store.complete(upload, [part], overwrite=True)
    assert read(key) == b"other"


def test_uploads_are_listed_by_how_their_keys_begin(
    store: ObjectStore, begin: Begin, key: str
) -> None:
    names = ["/a", "/b", "/a", "/ab", "/a/c", " \u00fc+%/&", "/a"]
    begun = [begin(key + name) for name in names]

    def expect(prefix: str) -> list[tuple[str, str]]:
        return sorted((one.key, one.upload_id) for one in begun if one.key.startswith(prefix))

    for prefix in (key, f"{key}/", f"{key}/a", f"{key}/a/", f"{key}/b", f"{key} \u00fc"):
        assert list_ids(store, prefix) == expect(prefix)
        assert expect(prefix)
    assert list_ids(store, f"{key}/none") == []
    assert set(expect(key)) <= set(list_ids(store, ""))


def test_objects_are_listed_by_how_their_keys_begin_and_uploads_are_none(
    store: ObjectStore, begin: Begin, key: str
) -> None:
    begin(f"{key}/open")
    keys = sorted(f"{key}{name}" for name in ("/a", "/ab", "/a.b", "/a/c", "/b", " \u00fc+%/&"))
    for one in keys:
        store.put(one, b"content", HEADERS, overwrite=False)
    for prefix in (key, f"{key}/", f"{key}/a", f"{key}/a.", f"{key}/a/", f"{key} \u00fc"):
        expected = [one for one in keys if one.startswith(prefix)]
        assert expected
        assert sorted(store.list_keys(prefix)) == expected
    assert list(store.list_keys(f"{key}/none")) == []
    for one in keys:
        store.delete(one)


def test_an_upload_is_listed_until_it_ends(store: ObjectStore, begin: Begin, key: str) -> None:
    kept, completed, aborted = (begin(key) for _ in range(3))
    store.complete(completed, [store.put_part(completed, 1, b"x")], overwrite=False)
    store.abort(aborted)
    assert list_ids(store, key) == [(key, kept.upload_id)]


def test_the_time_of_an_upload_is_when_it_began(store: ObjectStore, begin: Begin, key: str) -> None:
    before = datetime.now(UTC)
    begin(key)
    after = datetime.now(UTC)
    (found,) = store.list_uploads(key)
    assert found.begun.utcoffset() == timedelta(0)
    # S3 tells no more than the second.
    assert before.replace(microsecond=0) <= found.begun <= after


def test_who_walks_through_uploads_may_abort_them(
    store: ObjectStore, begin: Begin, key: str
) -> None:
    begun = {begin(f"{key}/{number}").upload_id for number in range(7)}
    met = []
    for pending in store.list_uploads(f"{key}/"):
        store.abort(pending.upload)
        met.append(pending.upload.upload_id)
    assert sorted(met) == sorted(begun)
    assert list_ids(store, f"{key}/") == []
