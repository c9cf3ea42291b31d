"""Answers of S3 that the local stack's server does not give, and others do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from botocore.stub import Stubber

from ingest.config import S3Checksum, Settings
from ingest.errors import (
    HeadraceError,
    SourceChanged,
    SourceNotFound,
    StorageUnavailable,
    UploadLost,
)
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import (
    CopySource,
    ObjectHeaders,
    Part,
    PendingUpload,
    StoredPart,
    Upload,
)

BUCKET = {"Bucket": "media"}
UPLOAD = Upload("a", "1")
PARTS_OF = {**BUCKET, "Key": "a", "UploadId": "1"}
BEGUN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def server(store: S3ObjectStore) -> Iterator[Stubber]:
    """Says what the server answers, request by request, and that no other was sent."""
    with Stubber(store._client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def add_uploads(
    server: Stubber,
    names: str,
    following: tuple[str | None, str | None] | None,
    after: tuple[str | None, str | None] = (None, None),
    prefix: str = "",
) -> None:
    """Add a page: an upload for each letter, and the markers that lead to the next page."""
    answer: dict[str, object] = {
        "IsTruncated": following is not None,
        "Uploads": [{"Key": name, "UploadId": name * 2, "Initiated": BEGUN} for name in names],
    }
    names_of_markers = ("KeyMarker", "UploadIdMarker")
    for marker, value in zip(names_of_markers, following or (), strict=False):
        if value is not None:
            answer["Next" + marker] = value
    given = dict(zip(names_of_markers, after, strict=True))
    asked = {name: value for name, value in given.items() if value is not None}
    server.add_response("list_multipart_uploads", answer, {**BUCKET, "Prefix": prefix, **asked})


def walk(store: S3ObjectStore, prefix: str = "") -> str:
    return "".join(one.upload.key for one in store.list_uploads(prefix))


@pytest.mark.parametrize(
    "markers",
    [[("b", "bb"), ("d", "dd")], [(None, "bb"), (None, "dd")], [("b", None), ("d", None)]],
    ids=["both", "id", "key"],
)
def test_a_server_is_asked_on_from_the_markers_that_it_named(
    markers: list[tuple[str | None, str | None]], store: S3ObjectStore, server: Stubber
) -> None:
    add_uploads(server, "ab", markers[0])
    add_uploads(server, "cd", markers[1], after=markers[0])
    add_uploads(server, "e", None, after=markers[1])
    assert walk(store) == "abcde"


def test_an_empty_page_is_not_the_end_while_there_is_more(
    store: S3ObjectStore, server: Stubber
) -> None:
    add_uploads(server, "", ("b", "bb"))
    add_uploads(server, "c", None, after=("b", "bb"))
    assert walk(store) == "c"


def test_a_server_that_repeats_a_page_is_not_asked_for_ever(
    store: S3ObjectStore, server: Stubber
) -> None:
    add_uploads(server, "ab", ("b", "bb"))
    add_uploads(server, "ab", ("b", "bb"), after=("b", "bb"))
    assert walk(store) == "abab"


def test_a_server_that_leads_in_a_circle_is_not_followed_for_ever(
    store: S3ObjectStore, server: Stubber
) -> None:
    add_uploads(server, "ab", (None, "bb"))
    add_uploads(server, "cd", (None, "dd"), after=(None, "bb"))
    add_uploads(server, "ab", (None, "bb"), after=(None, "dd"))
    assert walk(store) == "abcdab"


def test_a_server_that_has_more_and_does_not_say_where_is_left(
    store: S3ObjectStore, server: Stubber
) -> None:
    add_uploads(server, "ab", (None, None))
    assert walk(store) == "ab"


def test_uploads_that_do_not_begin_with_the_prefix_are_left_out(
    store: S3ObjectStore, server: Stubber
) -> None:
    add_uploads(server, "abc", None, prefix="b")
    assert walk(store, "b") == "b"


def test_the_time_of_an_upload_is_utc_wherever_the_server_is(
    store: S3ObjectStore, server: Stubber
) -> None:
    there = BEGUN.astimezone(timezone(timedelta(hours=5)))
    answer = {"Uploads": [{"Key": "a", "UploadId": "1", "Initiated": there}]}
    server.add_response("list_multipart_uploads", answer)
    (found,) = store.list_uploads()
    assert found == PendingUpload(UPLOAD, BEGUN)
    assert found.begun.tzinfo is UTC


def test_a_walk_that_fails_has_given_what_came_before(
    store: S3ObjectStore, server: Stubber
) -> None:
    add_uploads(server, "a", ("a", "aa"))
    server.add_client_error("list_multipart_uploads", "SlowDown")
    walking = store.list_uploads()
    assert next(walking).upload.key == "a"
    with pytest.raises(StorageUnavailable, match="SlowDown"):
        next(walking)


def add_parts(server: Stubber, numbers: list[int], following: int | None, after: int = 0) -> None:
    """Add a page of parts, and the number that leads to the next page."""
    answer: dict[str, object] = {
        "IsTruncated": following is not None,
        "Parts": [{"PartNumber": number, "ETag": f"{number}", "Size": 9} for number in numbers],
    }
    if following is not None:
        answer["NextPartNumberMarker"] = following
    server.add_response("list_parts", answer, {**PARTS_OF, "PartNumberMarker": after})


def test_parts_are_listed_over_all_their_pages(store: S3ObjectStore, server: Stubber) -> None:
    add_parts(server, [1, 2], 2)
    add_parts(server, [3], None, after=2)
    assert store.list_parts(UPLOAD) == [StoredPart(n, f"{n}", 9) for n in (1, 2, 3)]


def test_pages_of_parts_that_do_not_go_on_end(store: S3ObjectStore, server: Stubber) -> None:
    add_parts(server, [1, 2], 2)
    add_parts(server, [1, 2], 2, after=2)
    assert store.list_parts(UPLOAD) == [StoredPart(n, f"{n}", 9) for n in (1, 2)]


def test_an_upload_that_goes_while_its_parts_are_listed_is_gone(
    store: S3ObjectStore, server: Stubber
) -> None:
    add_parts(server, [1, 2], 2)
    server.add_client_error("list_parts", "NoSuchUpload", http_status_code=404)
    assert store.list_parts(UPLOAD) is None


def test_parts_that_are_not_told_are_not_taken_for_an_upload_that_is_gone(
    store: S3ObjectStore, server: Stubber
) -> None:
    server.add_client_error("list_parts", "AccessDenied", http_status_code=403)
    with pytest.raises(StorageUnavailable):
        store.list_parts(UPLOAD)


# AWS's words for an upload begun under another checksum than its parts or its end come with.
@pytest.mark.parametrize(
    "code", ["NoSuchUpload", "InvalidPart", "InvalidPartOrder", "InvalidRequest"]
)
def test_a_lost_upload_is_told_apart_from_a_store_that_fails(
    code: str, store: S3ObjectStore, server: Stubber
) -> None:
    server.add_client_error("complete_multipart_upload", code)
    with pytest.raises(UploadLost):
        store.complete(UPLOAD, [], overwrite=False)


def test_a_bad_request_costs_no_upload_where_there_is_none(
    store: S3ObjectStore, server: Stubber
) -> None:
    server.add_client_error("create_multipart_upload", "InvalidRequest")
    with pytest.raises(StorageUnavailable):
        store.begin("a", ObjectHeaders("a/b", "inline", {}))


@pytest.mark.parametrize("code", ["NoSuchKey", "404"])
def test_what_is_not_there_counts_as_deleted(
    code: str, store: S3ObjectStore, server: Stubber
) -> None:
    expected = {**BUCKET, "Key": "a", "IfMatch": "x"}
    server.add_client_error("delete_object", code, http_status_code=404, expected_params=expected)
    assert store.delete("a", if_etag="x")


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict", "412"])
def test_what_was_not_deleted_is_looked_at(
    code: str, store: S3ObjectStore, server: Stubber
) -> None:
    there = {"ContentLength": 1, "ContentType": "a/b", "Metadata": {}, "ETag": "y"}
    server.add_client_error("delete_object", code)
    server.add_response("head_object", there)
    assert not store.delete("a", if_etag="x")

    # The answer to a first request was lost; the second found nothing to compare with.
    server.add_client_error("delete_object", code)
    server.add_client_error("head_object", "404", http_status_code=404)
    assert store.delete("a", if_etag="x")


@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented", "NoSuchBucket"])
def test_a_store_that_will_not_delete_says_so(
    code: str, store: S3ObjectStore, server: Stubber
) -> None:
    server.add_client_error("delete_object", code)
    with pytest.raises(StorageUnavailable):
        store.delete("a", if_etag="x")


def copy_part(store: S3ObjectStore) -> Part | None:
    return store.copy_part(UPLOAD, 1, CopySource("archive", "b", '"e"'), 0, 1)


@pytest.mark.parametrize(
    "code",
    [
        "AccessDenied",
        "InvalidArgument",
        "InvalidRequest",
        "MethodNotAllowed",
        "NotImplemented",
        "403",
        "405",
        "501",
        "",
    ],
)
def test_a_server_that_does_not_copy_is_no_failure(
    code: str, store: S3ObjectStore, server: Stubber
) -> None:
    server.add_client_error("upload_part_copy", code)
    assert copy_part(store) is None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("NoSuchKey", SourceNotFound),
        ("PreconditionFailed", SourceChanged),
        ("NoSuchUpload", UploadLost),
        ("NoSuchBucket", SourceNotFound),
        ("SlowDown", StorageUnavailable),
        ("InternalError", StorageUnavailable),
    ],
)
def test_a_copy_that_fails_says_whose_fault_it_is(
    code: str, expected: type[HeadraceError], store: S3ObjectStore, server: Stubber
) -> None:
    server.add_client_error("upload_part_copy", code)
    with pytest.raises(expected):
        copy_part(store)


COPY_OF = {
    **PARTS_OF,
    "PartNumber": 1,
    "CopySource": {"Bucket": "archive", "Key": "b"},
    "CopySourceIfMatch": '"e"',
    "CopySourceRange": "bytes=0-0",
}


@pytest.mark.parametrize("etag", ["abc", '"abc"'])
def test_the_etag_of_a_copied_part_is_quoted_and_its_checksum_read(
    etag: str, store: S3ObjectStore, server: Stubber
) -> None:
    result = {"CopyPartResult": {"ETag": etag, "ChecksumCRC32C": "AAAAAg=="}}
    server.add_response("upload_part_copy", result, COPY_OF)
    assert copy_part(store) == Part(1, '"abc"', 2)


@pytest.mark.parametrize(
    "answer",
    [{}, {"CopyPartResult": {}}, {"CopyPartResult": {"ChecksumCRC32C": "AAAAAg=="}}],
    ids=["nothing", "no result", "no etag"],
)
def test_a_copy_that_names_no_part_is_none(
    answer: dict[str, object], store: S3ObjectStore, server: Stubber
) -> None:
    server.add_response("upload_part_copy", answer, COPY_OF)
    assert copy_part(store) is None


@pytest.mark.parametrize("told", [{}, {"ChecksumCRC32C": "AAAAAg=="}], ids=["untold", "told"])
@pytest.mark.parametrize("checksum", list(S3Checksum))
def test_a_copied_part_has_the_checksum_that_completing_wants_or_is_none(
    checksum: S3Checksum, told: dict[str, str], settings: Settings
) -> None:
    store = s3.connect(settings.model_copy(update={"s3_checksum": checksum}), pool_size=1)
    with Stubber(store._client) as server:
        server.add_response("upload_part_copy", {"CopyPartResult": {"ETag": "e", **told}}, COPY_OF)
        part = copy_part(store)
    if checksum is S3Checksum.MD5:
        assert part == Part(1, '"e"', None)
    else:
        assert part == (Part(1, '"e"', 2) if told else None)


@pytest.mark.parametrize("code", ["403", "404", "412"])
def test_a_sha256_that_nobody_tells_is_none(
    code: str, store: S3ObjectStore, server: Stubber
) -> None:
    server.add_client_error("head_object", code)
    assert store.find_sha256("a", '"e"') is None
