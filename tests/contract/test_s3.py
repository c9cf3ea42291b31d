"""What S3 alone can show: signed addresses, checked bodies, and a server that is not there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from ingest.config import S3Checksum, Settings
from ingest.errors import ConfigError, StorageUnavailable
from ingest.naming import make_disposition
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders, Part, Upload
from tests.contract.conftest import PAGE_SIZE

HEADERS = ObjectHeaders("application/octet-stream", "inline", {})
SHOWN = ObjectHeaders("video/mp4", make_disposition("\U0001f3ac a.mp4"), {})
UPLOAD = Upload("contract/missing", "0" * 32)


@pytest.fixture
def key(s3_store: S3ObjectStore) -> str:
    """An object of four bytes."""
    name = f"contract/{secrets.token_hex(8)}"
    s3_store.put(name, b"0123", HEADERS, overwrite=False)
    return name


def test_a_signed_address_reads_the_object_and_nothing_else(
    s3_store: S3ObjectStore, key: str
) -> None:
    address = s3_store.presign(key, 60)
    assert requests.get(address, timeout=10).content == b"0123"
    for method, url in (
        ("PUT", address),
        ("DELETE", address),
        ("GET", address.partition("?")[0]),
        ("GET", address.replace(key, key + "x")),
        ("GET", address.replace("X-Amz-Expires=60", "X-Amz-Expires=600")),
    ):
        assert requests.request(method, url, data=b"", timeout=10).status_code == 403
    assert s3_store.describe(key) is not None


def test_a_signed_address_can_say_another_type_and_name(s3_store: S3ObjectStore, key: str) -> None:
    answer = requests.get(s3_store.presign(key, 60, SHOWN), timeout=10)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"] == SHOWN.content_disposition


def test_a_signed_address_for_head_answers_head(s3_store: S3ObjectStore, key: str) -> None:
    answer = requests.head(s3_store.presign(key, 60, SHOWN, head=True), timeout=10)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "4")


def test_downloaders_may_know_the_store_by_another_address(settings: Settings, key: str) -> None:
    elsewhere = settings.model_copy(update={"s3_public_endpoint": "https://media.example"})
    store = s3.connect(elsewhere, pool_size=1)
    assert store.presign(key, 60).startswith(f"https://media.example/{settings.s3_bucket}/{key}?")
    own = store.presign(key, 60, public=False)
    assert own.startswith(f"{settings.s3_endpoint}/")
    assert requests.get(own, timeout=10).content == b"0123"


@pytest.mark.parametrize(
    "wrong",
    [
        {"ChecksumCRC32": "AAAAAA=="},
        {"ChecksumCRC32C": "AAAAAA=="},
        {"ChecksumSHA256": "A" * 43 + "="},
        {"ContentMD5": "A" * 22 + "=="},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_the_store_refuses_a_body_that_is_not_the_one_that_was_sent(
    wrong: dict[str, Any], s3_store: S3ObjectStore
) -> None:
    name = f"contract/{secrets.token_hex(8)}"
    with pytest.raises(ClientError, match=r"BadDigest|InvalidDigest|did not match"):
        s3_store._client.put_object(Bucket=s3_store._bucket, Key=name, Body=b"0123", **wrong)
    assert s3_store.describe(name) is None


def test_a_body_that_is_not_what_its_checksum_says_is_refused(s3_store: S3ObjectStore) -> None:
    name = f"contract/{secrets.token_hex(8)}"
    with pytest.raises(StorageUnavailable, match="BadDigest"):
        s3_store.put(name, b"0123", HEADERS, overwrite=False, sha256="0" * 64)
    assert s3_store.describe(name) is None
    upload = s3_store.begin(name + "-parts", HEADERS)
    with pytest.raises(StorageUnavailable, match="BadDigest"):
        s3_store.put_part(upload, 1, bytearray(b"0123"), 0)
    part = s3_store.put_part(upload, 1, bytearray(b"0123"))
    with pytest.raises(StorageUnavailable, match="BadDigest"):
        s3_store.complete(upload, [replace(part, crc32c=0)], overwrite=False)
    s3_store.complete(upload, [part], overwrite=False)
    s3_store.delete(name + "-parts")


@pytest.mark.parametrize("checksum", list(S3Checksum))
def test_a_part_carries_the_checksum_that_completing_wants(
    checksum: S3Checksum, settings: Settings
) -> None:
    store = s3.connect(settings.model_copy(update={"s3_checksum": checksum}), pool_size=1)
    name = f"contract/{secrets.token_hex(8)}"
    upload = store.begin(name, HEADERS)
    part = store.put_part(upload, 1, b"0123")
    assert (part.crc32c is not None) == store.wants_part_checksums
    store.complete(upload, [part], overwrite=False)
    store.delete(name)


def test_a_page_of_uploads_is_asked_for_when_it_is_needed(
    s3_store: S3ObjectStore, small_pages: list[str]
) -> None:
    name = f"contract/{secrets.token_hex(8)}"
    begun = [s3_store.begin(name, HEADERS) for _ in range(3 * PAGE_SIZE)]
    walk = s3_store.list_uploads(name)
    asked_after = [len(small_pages)]
    for _ in begun:
        s3_store.abort(next(walk).upload)
        asked_after.append(len(small_pages))
    assert list(walk) == []
    assert asked_after == [0, 1, 1, 2, 2, 3, 3]
    assert set(small_pages) == {"ListMultipartUploads"}


OPERATIONS: dict[str, Callable[[S3ObjectStore], object]] = {
    "check": lambda store: store.check(),
    "put": lambda store: store.put("contract/x", b"x", HEADERS, overwrite=False),
    "begin": lambda store: store.begin("contract/x", HEADERS),
    "put_part": lambda store: store.put_part(UPLOAD, 1, b"x"),
    "complete": lambda store: store.complete(UPLOAD, [Part(1, "x")], overwrite=False),
    "abort": lambda store: store.abort(UPLOAD),
    "list_parts": lambda store: store.list_parts(UPLOAD),
    "list_uploads": lambda store: list(store.list_uploads()),
    "describe": lambda store: store.describe("contract/x"),
    "delete": lambda store: store.delete("contract/x"),
    "delete_one": lambda store: store.delete("contract/x", if_etag="x"),
}


@pytest.mark.parametrize("operate", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_store_that_is_not_there_is_unavailable_within_seconds(
    operate: Callable[[S3ObjectStore], object], settings: Settings, closed_port: int
) -> None:
    gone = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{closed_port}"})
    store = s3.connect(gone, pool_size=1, patience=s3.BRISK)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable) as caught:
        operate(store)
    assert time.monotonic() - began < 3
    assert caught.value.retryable


def test_a_bucket_that_is_not_there_is_said_to_be_missing(settings: Settings) -> None:
    # By the check alone: SeaweedFS makes a bucket for the first object that is put into it.
    name = f"missing-{secrets.token_hex(8)}"
    store = s3.connect(settings.model_copy(update={"s3_bucket": name}), pool_size=1)
    with pytest.raises(StorageUnavailable):
        store.check()


def test_a_wrong_key_is_told_apart_from_a_missing_object(settings: Settings) -> None:
    wrong = settings.model_copy(update={"s3_access_key_id": settings.s3_secret_access_key})
    store = s3.connect(wrong, pool_size=1)
    with pytest.raises(StorageUnavailable, match="refused"):
        store.describe("contract/x")


def test_an_endpoint_that_is_none_is_a_setting_to_mend(settings: Settings) -> None:
    bad = settings.model_copy(update={"s3_endpoint": "http://not a host"})
    with pytest.raises(ConfigError, match="HEADRACE_S3_ENDPOINT"):
        s3.connect(bad, pool_size=1)


def test_the_proxies_of_the_environment_are_not_for_the_store(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, closed_port: int
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    s3.connect(settings, pool_size=1, patience=s3.BRISK).check()
