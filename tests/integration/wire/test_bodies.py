"""What is sent and how it is answered: tried again, or explained."""

from __future__ import annotations

import pytest

from ingest.config import Settings
from ingest.errors import FileExists, HeadraceError, StorageUnavailable, UploadLost
from storage.objects.s3 import S3ObjectStore
from storage.objects.s3_client import S3Access
from storage.objects.store import ObjectHeaders, Upload
from storage.objects.wire import Wire
from tests.integration.wire.conftest import BODY, PATIENCE, Store, put, refuse


@pytest.mark.parametrize(
    "body", [BODY, bytearray(BODY), memoryview(bytearray(BODY))[7:-9], b"", b"x"], ids=type
)
def test_a_body_arrives_as_it_lies_in_memory(
    body: bytes | bytearray | memoryview, wire: Wire, store: Store, settings: Settings
) -> None:
    assert put(wire, body)["ETag"] == '"etag"'
    (taken,) = store.taken
    assert taken.body == bytes(body)
    assert taken.target == f"/{settings.s3_bucket}/a/%C3%BC%20%2B%25~.mp4?partNumber=1"
    assert taken.headers["x-amz-meta-a"] == "b"
    assert taken.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "Credential=key-one/" in taken.headers["authorization"]
    assert "x-amz-meta-a" in taken.headers["authorization"]
    assert taken.headers["host"] == f"127.0.0.1:{store.port}"
    assert "SignedHeaders=host;" in taken.headers["authorization"]
    assert "transfer-encoding" not in taken.headers


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("http://store.example:80", "store.example"),
        ("https://store.example:443", "store.example"),
        ("https://store.example:80", "store.example:80"),
        ("http://[::1]:9000", "[::1]:9000"),
    ],
)
def test_a_store_is_named_as_it_expects_it(endpoint: str, host: str, settings: Settings) -> None:
    access = S3Access(settings, PATIENCE)
    wire = access.make_wire(access.make_client(endpoint, 1), 1)
    assert wire._place.host == host
    wire.close()


@pytest.mark.parametrize(
    "trouble",
    [
        refuse(503, "SlowDown"),
        refuse(500, "InternalError"),
        refuse(400, "RequestTimeout"),
        refuse(400, "BadDigest"),
        (502, b"<html>a proxy</html>"),
        None,
    ],
    ids=["SlowDown", "InternalError", "RequestTimeout", "BadDigest", "a proxy", "silence"],
)
def test_what_may_pass_is_tried_again_as_often_as_patience_says(
    trouble: tuple[int, bytes] | None, wire: Wire, store: Store, pauses: list[float]
) -> None:
    store.answers = (trouble, trouble, (200, b""))
    put(wire)
    assert [taken.body for taken in store.taken] == [BODY] * 3
    assert len(pauses) == 2
    assert 0 <= pauses[0] <= 1
    assert 0 <= pauses[1] <= 2


@pytest.mark.parametrize(
    "trouble", [refuse(503, "SlowDown"), (502, b""), None], ids=["refused", "proxy", "silence"]
)
def test_what_does_not_pass_is_an_outage(
    trouble: tuple[int, bytes] | None, wire: Wire, store: Store
) -> None:
    store.answers = (trouble,)
    with pytest.raises(StorageUnavailable):
        put(wire)
    assert len(store.taken) == PATIENCE.attempts


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refuse(404, "NoSuchUpload"), UploadLost),
        (refuse(400, "InvalidPart"), UploadLost),
        (refuse(412, "PreconditionFailed"), FileExists),
        (refuse(409, "ConditionalRequestConflict"), FileExists),
        (refuse(404, "NoSuchBucket"), StorageUnavailable),
        (refuse(403, "AccessDenied"), StorageUnavailable),
        ((301, b""), StorageUnavailable),
    ],
    ids=["upload", "part", "taken", "conflict", "bucket", "denied", "moved"],
)
def test_what_a_store_means_by_no_is_not_asked_twice(
    answer: tuple[int, bytes], error: type[HeadraceError], wire: Wire, store: Store
) -> None:
    store.answers = (answer,)
    with pytest.raises(error):
        put(wire)
    assert len(store.taken) == 1


def test_an_upload_that_does_not_take_a_part_as_it_comes_begins_again(
    wire: Wire, store: Store, settings: Settings
) -> None:
    store.answers = (refuse(400, "InvalidRequest"),)
    s3 = S3ObjectStore(settings.s3_bucket, wire._client, wire._client, wire)
    with pytest.raises(UploadLost, match="HEADRACE_S3_CHECKSUM"):
        s3.put_part(Upload("a", "1"), 1, BODY)
    with pytest.raises(StorageUnavailable):
        s3.put("a", BODY, ObjectHeaders("video/mp4", "inline", {}), overwrite=False)
    assert len(store.taken) == 2
