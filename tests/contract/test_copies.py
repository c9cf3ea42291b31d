"""Copies inside a store: a part that is a piece of another object, and what is told of that."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

import pytest

from ingest.config import MIB, Settings
from ingest.errors import FileExists, SourceChanged, SourceNotFound, UploadLost
from storage.objects.memory import MemoryObjectStore
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import CopySource, ObjectHeaders, ObjectStore, Upload
from tests.contract.conftest import Begin, Read

HEADERS = ObjectHeaders("text/plain", "attachment", {"theirs": "yes"})
OURS = ObjectHeaders("video/mp4", "inline", {"headrace-file-id": "file_1"})
PART_BYTES = 5 * MIB


@pytest.fixture
def bucket(store: ObjectStore, settings: Settings) -> str:
    """Where the store's objects are."""
    return store.bucket if isinstance(store, MemoryObjectStore) else settings.s3_bucket


@pytest.fixture
def content() -> bytes:
    """Two parts and a piece."""
    return secrets.token_bytes(2 * PART_BYTES + 3)


@pytest.fixture(params=["a", "a b/\u00fc+%25 ?#&=;'\"\U0001f3ac.mp4"], ids=["plain", "odd"])
def source(
    request: pytest.FixtureRequest, store: ObjectStore, bucket: str, key: str, content: bytes
) -> CopySource:
    """An object to copy."""
    name = f"{key}-source/{request.param}"
    store.put(name, content, HEADERS, overwrite=False)
    found = store.describe(name)
    assert found is not None
    return CopySource(bucket, name, found.etag)


def test_pieces_become_one_object_with_headers_of_its_own(
    store: ObjectStore, read: Read, key: str, source: CopySource, content: bytes
) -> None:
    upload = store.begin(key, OURS)
    pieces = [(1, 0, PART_BYTES), (2, PART_BYTES, PART_BYTES), (3, 2 * PART_BYTES, 3)]

    parts = [store.copy_part(upload, number, source, at, size) for number, at, size in pieces]

    copied = [part for part in parts if part is not None]
    assert [part.number for part in copied] == [1, 2, 3]
    assert store.describe(key) is None
    listed = store.list_parts(upload)
    assert listed is not None
    assert [(part.number, part.etag) for part in listed] == [
        (part.number, part.etag) for part in copied
    ]
    store.complete(upload, copied, overwrite=False)
    assert read(key) == content
    found = store.describe(key)
    assert found is not None
    assert (found.content_type, found.metadata) == ("video/mp4", {"headrace-file-id": "file_1"})


def test_a_copy_may_be_a_single_part_and_never_replaces_an_object(
    store: ObjectStore, read: Read, key: str, source: CopySource, content: bytes, begin: Begin
) -> None:
    store.put(key, b"first", OURS, overwrite=False)
    upload = begin(key)
    part = store.copy_part(upload, 1, source, 0, len(content))
    assert part is not None
    with pytest.raises(FileExists):
        store.complete(upload, [part], overwrite=False)
    assert read(key) == b"first"
    store.complete(upload, [part], overwrite=True)
    assert read(key) == content


def test_copied_and_sent_parts_mix(
    store: ObjectStore, read: Read, key: str, source: CopySource, content: bytes
) -> None:
    upload = store.begin(key, OURS)
    first = store.copy_part(upload, 1, source, 0, PART_BYTES)
    assert first is not None
    store.complete(upload, [first, store.put_part(upload, 2, b"end")], overwrite=False)
    assert read(key) == content[:PART_BYTES] + b"end"


def test_an_object_that_was_replaced_is_not_copied(
    store: ObjectStore, key: str, source: CopySource, begin: Begin
) -> None:
    upload = begin(key)
    store.put(source.key, b"other" * MIB, HEADERS, overwrite=True)
    with pytest.raises(SourceChanged):
        store.copy_part(upload, 1, source, 0, PART_BYTES)
    assert store.list_parts(upload) == []


def test_an_object_that_is_gone_is_not_found(
    store: ObjectStore, key: str, source: CopySource, begin: Begin
) -> None:
    upload = begin(key)
    store.delete(source.key)
    with pytest.raises(SourceNotFound):
        store.copy_part(upload, 1, source, 0, PART_BYTES)


def test_a_copy_into_an_upload_that_is_gone_is_lost(
    store: ObjectStore, key: str, source: CopySource
) -> None:
    upload = store.begin(key, OURS)
    store.abort(upload)
    for gone in (upload, Upload(key, "0" * 32)):
        with pytest.raises(UploadLost):
            store.copy_part(gone, 1, source, 0, PART_BYTES)


def test_the_sha256_of_an_object_in_one_piece_is_told_while_it_is_that_object(
    store: ObjectStore, source: CopySource, content: bytes
) -> None:
    assert store.find_sha256(source.key, source.etag) == hashlib.sha256(content).hexdigest()
    assert store.find_sha256(source.key, '"' + "0" * 32 + '"') is None
    assert store.find_sha256(source.key + "x", source.etag) is None


def test_an_object_of_parts_has_no_sha256_whatever_its_metadata_say(
    store: ObjectStore, key: str
) -> None:
    upload = store.begin(key, replace(HEADERS, metadata={"headrace-sha256": "0" * 64}))
    store.complete(upload, [store.put_part(upload, 1, b"content")], overwrite=False)
    found = store.describe(key)
    assert found is not None
    assert store.find_sha256(key, found.etag) is None


def test_an_object_that_was_put_with_another_checksum_has_no_sha256(
    s3_store: S3ObjectStore, key: str
) -> None:
    answer = s3_store._client.put_object(
        Bucket=s3_store._bucket,
        Key=key,
        Body=b"content",
        ChecksumAlgorithm="CRC32",
        Metadata={"headrace-sha256": "0" * 64},
    )
    assert s3_store.find_sha256(key, answer["ETag"]) is None
