"""``s3://`` sources that are copied in the store, past the worker."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.config import MIB
from storage.objects.s3 import S3ObjectStore
from tests.e2e.objects.examples import (
    HEADERS,
    PART_BYTES,
    Moved,
    count_bytes,
    fail,
    hash_stored,
    ingest,
    make_video,
    put_in_parts,
)
from tests.support.api import Api, JsonDict
from tests.support.faults import FaultProxy
from tests.support.tasks import create_task, list_errors, wait_for_end
from tests.support.waiting import wait_until


def test_a_long_object_is_copied_past_the_worker(
    inner: LocalStack,
    api: Api,
    media_folder: Path,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    name: str,
) -> None:
    # Two parts of 128 MiB at most.
    video = make_video(media_folder, 130 * MIB)
    put_in_parts(archive, name, video, 26 * MIB)
    moved = Moved(inner)

    ended = wait_for_end(
        api, create_task(api, f"s3://archive/{name}", folder="in", filename="long.mp4"), 60
    )

    assert ended["status"] == "complete", ended["error"]
    file = cast("JsonDict", ended["output"])
    assert moved.count(video.size_bytes) == (0, video.size_bytes)
    (attempt,) = cast("list[JsonDict]", ended["attempts"])
    assert attempt["bytes"] == video.size_bytes
    # The store knows none, and what the metadata say is worth nothing.
    assert file["checksum"] is None
    assert (file["type"], file["filesize"]) == ("video/mp4", video.size_bytes)
    assert file["duration"]
    assert hash_stored(landing, "in/long.mp4") == video.hash_sha256()
    found = landing.describe("in/long.mp4")
    assert found is not None
    assert found.content_type == "video/mp4"
    assert found.metadata == {"headrace-file-id": file["id"], "headrace-attempt": "1"}
    assert list(landing.list_uploads()) == []


def test_a_copy_of_what_was_put_with_its_sha256_has_that_one(
    inner: LocalStack,
    api: Api,
    long_video: bytes,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    name: str,
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    moved = Moved(inner)

    file = ingest(api, f"s3://archive/{name}", name)

    sha256 = hashlib.sha256(long_video).hexdigest()
    assert file["checksum"] == f"sha256:{sha256}"
    assert moved.count(len(long_video)) == (0, len(long_video))
    assert hash_stored(landing, f"in/{name}") == sha256
    found = landing.describe(f"in/{name}")
    assert found is not None
    assert found.metadata["headrace-sha256"] == sha256


@pytest.mark.parametrize(
    ("connection", "checked"),
    [("streamed", False), ("far", False), ("archive", True)],
    ids=["told to stream", "another store", "a checksum to verify"],
)
def test_what_is_not_copied_passes_the_worker_and_has_its_sha256(
    connection: str,
    inner: LocalStack,
    api: Api,
    media_folder: Path,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    name: str,
    *,
    checked: bool,
) -> None:
    video = make_video(media_folder, 2 * PART_BYTES + MIB)
    put_in_parts(archive, name, video, PART_BYTES)
    checksum = f"sha256:{video.hash_sha256()}"
    moved = Moved(inner)

    more = {"checksum": checksum} if checked else {}
    file = ingest(api, f"s3://{connection}/{name}", name, **more)

    assert file["checksum"] == checksum
    assert moved.count(video.size_bytes) == (video.size_bytes, 0)
    assert hash_stored(landing, f"in/{name}") == video.hash_sha256()


def test_a_wrong_checksum_fails_and_nothing_is_visible(
    api: Api, long_video: bytes, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)

    error = fail(
        api,
        f"s3://archive/{name}",
        "checksum_mismatch",
        filename=name,
        checksum="sha256:" + "0" * 64,
    )

    assert error["param"] == "checksum"
    assert landing.describe(name) is None
    assert list(landing.list_uploads()) == []


def test_a_page_is_told_from_media_before_anything_is_copied(
    inner: LocalStack, api: Api, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>".ljust(PART_BYTES + MIB)
    archive.put(name, page, HEADERS, overwrite=False)
    copied = count_bytes(inner, "headrace_copied_bytes_total")

    fail(api, f"s3://archive/{name}", "source_not_media", filename=name)

    assert landing.describe(name) is None
    assert list(landing.list_uploads()) == []
    assert count_bytes(inner, "headrace_copied_bytes_total") == copied


def test_a_copy_is_no_way_around_the_longest_that_is_taken(
    api: Api, long_video: bytes, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    fail(
        api,
        f"s3://archive/{name}",
        "source_too_large",
        filename=name,
        max_bytes=len(long_video) - 1,
    )
    assert landing.describe(name) is None
    ingest(api, f"s3://archive/{name}", name, max_bytes=len(long_video))


def test_a_copy_replaces_no_object_of_somebody_elses(
    api: Api, long_video: bytes, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    landing.put(name, b"theirs", HEADERS, overwrite=False)
    fail(api, f"s3://archive/{name}", "file_exists", filename=name)
    assert hash_stored(landing, name) == hashlib.sha256(b"theirs").hexdigest()
    assert list(landing.list_uploads()) == []


def test_a_worker_that_is_killed_in_the_middle_of_a_copy_leaves_no_upload(
    inner: LocalStack,
    api: Api,
    long_video: bytes,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    proxy: FaultProxy,
    name: str,
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    # The store has copied long before the worker hears of it.
    proxy.delay(0.7)
    try:
        task = create_task(api, f"s3://archive/{name}", folder="in", filename=name, max_attempts=3)

        def find_copied() -> bool:
            parts = [landing.list_parts(one.upload) for one in landing.list_uploads()]
            return any(parts)

        wait_until(find_copied, "a copied part", 30)
        pid = inner.processes["worker"]
        inner.kill("worker")
        assert landing.describe(f"in/{name}") is None
    finally:
        proxy.heal()
    wait_until(lambda: inner.processes.get("worker") not in {None, pid}, "another worker")

    ended = wait_for_end(api, task, 60)

    assert ended["status"] == "complete", ended["error"]
    assert list_errors(ended) == ["lease_lost", None]
    assert hash_stored(landing, f"in/{name}") == hashlib.sha256(long_video).hexdigest()
    assert list(landing.list_uploads()) == []
