"""The obligations of :mod:`storage.objects.store`, on the one in memory and on real S3."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest.config import MIB
from ingest.errors import FileExists
from storage.objects.store import ObjectHeaders, ObjectStore
from tests.contract.conftest import Read

HEADERS = ObjectHeaders("video/mp4", 'inline; filename="a.mp4"', {"headrace-file-id": "file_1"})
OTHER = ObjectHeaders("image/jpeg", "inline", {"headrace-file-id": "file_2"})
PART_BYTES = 5 * MIB


def look(store: ObjectStore, key: str) -> tuple[int, str, Mapping[str, str]]:
    """Return size, type and metadata of an object that has to be there."""
    found = store.describe(key)
    assert found is not None
    assert found.etag
    return found.size_bytes, found.content_type, found.metadata


def test_a_store_that_is_there_says_so(store: ObjectStore) -> None:
    store.check()


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 1000], ids=len)
def test_an_object_is_kept_byte_for_byte_with_its_headers(
    content: bytes, store: ObjectStore, read: Read, key: str
) -> None:
    assert store.describe(key) is None
    store.put(key, content, HEADERS, overwrite=False)
    assert look(store, key) == (len(content), "video/mp4", {"headrace-file-id": "file_1"})
    assert read(key) == content


def test_a_buffer_may_be_used_again_once_it_was_stored(
    store: ObjectStore, read: Read, key: str
) -> None:
    buffer = bytearray(b"first")
    store.put(key, buffer, HEADERS, overwrite=False)
    upload = store.begin(key + "-parts", HEADERS)
    part = store.put_part(upload, 1, buffer)
    buffer[:] = b"later"
    store.complete(upload, [part], overwrite=False)
    assert read(key) == read(key + "-parts") == b"first"


def test_what_may_not_be_overwritten_is_not(store: ObjectStore, read: Read, key: str) -> None:
    store.put(key, b"first", HEADERS, overwrite=False)
    with pytest.raises(FileExists):
        store.put(key, b"second", OTHER, overwrite=False)
    assert read(key) == b"first"
    assert look(store, key) == (5, "video/mp4", {"headrace-file-id": "file_1"})


def test_what_may_be_overwritten_is_replaced_with_all_its_headers(
    store: ObjectStore, read: Read, key: str
) -> None:
    store.put(key, b"first", HEADERS, overwrite=False)
    store.put(key, b"second!", OTHER, overwrite=True)
    assert read(key) == b"second!"
    assert look(store, key) == (7, "image/jpeg", {"headrace-file-id": "file_2"})


def test_what_is_deleted_is_gone_and_may_be_deleted_again(store: ObjectStore, key: str) -> None:
    store.delete(key)
    store.put(key, b"content", HEADERS, overwrite=False)
    for _ in range(2):
        store.delete(key)
        assert store.describe(key) is None
    store.put(key, b"again", HEADERS, overwrite=False)


def test_only_the_object_that_was_meant_is_deleted(
    store: ObjectStore, read: Read, key: str
) -> None:
    store.put(key, b"first", HEADERS, overwrite=False)
    meant = store.describe(key)
    store.put(key, b"other", HEADERS, overwrite=True)
    there = store.describe(key)
    assert meant is not None
    assert there is not None

    assert not store.delete(key, if_etag=meant.etag)
    assert read(key) == b"other"

    # Deleted, and then not there to be deleted.
    for etag in (there.etag, there.etag, meant.etag):
        assert store.delete(key, if_etag=etag)
        assert store.describe(key) is None


def test_an_object_made_from_parts_is_deleted_only_where_it_was_meant(
    store: ObjectStore, read: Read, key: str
) -> None:
    upload = store.begin(key, HEADERS)
    store.complete(upload, [store.put_part(upload, 1, b"content")], overwrite=False)
    whole = store.describe(key)
    assert whole is not None

    assert not store.delete(key, if_etag="0" * 32)
    assert not store.delete(key, if_etag=whole.etag.replace("-1", "-2"))
    assert read(key) == b"content"

    assert store.delete(key, if_etag=whole.etag)
    assert store.describe(key) is None


def test_parts_become_one_object_in_order_of_number_and_not_before(
    store: ObjectStore, read: Read, key: str
) -> None:
    first, second, third = b"a" * PART_BYTES, b"b" * PART_BYTES, b"c"
    upload = store.begin(key, HEADERS)
    parts = [
        store.put_part(upload, number, body)
        for number, body in ((3, third), (1, first), (2, second))
    ]
    assert store.describe(key) is None

    store.complete(upload, sorted(parts, key=lambda part: part.number), overwrite=False)

    assert read(key) == first + second + third
    assert look(store, key) == (2 * PART_BYTES + 1, "video/mp4", {"headrace-file-id": "file_1"})


def test_parts_may_be_sent_by_several_threads(store: ObjectStore, read: Read, key: str) -> None:
    bodies = [bytes([number]) * PART_BYTES for number in range(4)]
    upload = store.begin(key, HEADERS)
    with ThreadPoolExecutor(4) as pool:
        sent = [
            pool.submit(store.put_part, upload, number, body)
            for number, body in enumerate(bodies, start=1)
        ]
        parts = [one.result() for one in sent]
    store.complete(upload, parts, overwrite=False)
    assert read(key) == b"".join(bodies)


def test_a_part_that_is_sent_again_replaces_the_first(
    store: ObjectStore, read: Read, key: str
) -> None:
    upload = store.begin(key, HEADERS)
    store.put_part(upload, 1, b"x" * PART_BYTES)
    parts = [store.put_part(upload, 1, b"a" * PART_BYTES), store.put_part(upload, 2, b"b")]
    listed = store.list_parts(upload) or []
    assert {(part.number, part.etag) for part in parts} <= {(p.number, p.etag) for p in listed}
    store.complete(upload, parts, overwrite=False)
    assert read(key) == b"a" * PART_BYTES + b"b"


def test_an_upload_that_finds_an_object_in_its_place_leaves_it_there(
    store: ObjectStore, read: Read, key: str
) -> None:
    upload = store.begin(key, HEADERS)
    part = store.put_part(upload, 1, b"late")
    store.put(key, b"first", OTHER, overwrite=False)
    with pytest.raises(FileExists):
        store.complete(upload, [part], overwrite=False)
    assert read(key) == b"first"
    assert look(store, key) == (5, "image/jpeg", {"headrace-file-id": "file_2"})
    store.abort(upload)
    assert read(key) == b"first"


def test_an_upload_may_replace_an_object_where_that_is_asked_for(
    store: ObjectStore, read: Read, key: str
) -> None:
    store.put(key, b"first", OTHER, overwrite=False)
    upload = store.begin(key, HEADERS)
    part = store.put_part(upload, 1, b"second")
    store.complete(upload, [part], overwrite=True)
    assert read(key) == b"second"


def test_an_upload_that_is_aborted_leaves_nothing_and_may_be_aborted_again(
    store: ObjectStore, key: str
) -> None:
    upload = store.begin(key, HEADERS)
    store.put_part(upload, 1, b"content")
    for _ in range(2):
        store.abort(upload)
        assert store.describe(key) is None


def test_an_upload_that_was_completed_may_be_aborted_without_harm(
    store: ObjectStore, read: Read, key: str
) -> None:
    upload = store.begin(key, HEADERS)
    store.complete(upload, [store.put_part(upload, 1, b"content")], overwrite=False)
    store.abort(upload)
    assert read(key) == b"content"


def test_two_uploads_of_one_key_do_not_mix(store: ObjectStore, read: Read, key: str) -> None:
    first, second = store.begin(key, HEADERS), store.begin(key, HEADERS)
    assert first.upload_id != second.upload_id
    part = store.put_part(first, 1, b"first")
    store.put_part(second, 1, b"second")
    store.abort(second)
    store.complete(first, [part], overwrite=False)
    assert read(key) == b"first"


@pytest.mark.parametrize(
    "name",
    [
        "a b+c",
        "100%25&?=#",
        "\u6620\u753b/\U0001f3ac.mp4",
        "..a../.b",
        "quote\"'`",
        "x" * 255,
        "/".join(["y" * 200] * 4),
    ],
    ids=lambda name: ascii(name[:20]),
)
def test_a_key_is_taken_as_it_is(name: str, store: ObjectStore, read: Read, key: str) -> None:
    whole = f"{key}/{name}"
    store.put(whole, b"content", HEADERS, overwrite=False)
    assert read(whole) == b"content"
    assert store.describe(whole) is not None
    store.delete(whole)
    assert store.describe(whole) is None


def test_of_many_who_store_at_once_one_wins(store: ObjectStore, read: Read, key: str) -> None:
    start = threading.Barrier(6)

    def put(number: int) -> bool:
        start.wait(10)
        try:
            store.put(key, b"%d" % number, HEADERS, overwrite=False)
        except FileExists:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(put, range(6)))

    assert won.count(True) == 1
    assert read(key) == b"%d" % won.index(True)


def test_of_two_uploads_that_complete_at_once_the_object_is_one_of_them_whole(
    store: ObjectStore, read: Read, key: str
) -> None:
    uploads = [store.begin(key, HEADERS) for _ in range(2)]
    parts = [store.put_part(upload, 1, b"%d" % at) for at, upload in enumerate(uploads)]
    start = threading.Barrier(2)

    def complete(at: int) -> bool:
        start.wait(10)
        try:
            store.complete(uploads[at], [parts[at]], overwrite=False)
        except FileExists:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(complete, range(2)))
    for upload in uploads:
        # The loser's is still there; the winner's is gone.
        store.abort(upload)

    # SeaweedFS 4.48 looks first and writes then, so both may be told that they won; that no two
    # tasks ever get this far is the work of the unique name in the database.
    assert any(won)
    assert read(key) in {b"%d" % at for at, told in enumerate(won) if told}
