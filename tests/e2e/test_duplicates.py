"""What is there already is answered with, where that is asked for, and marked so."""

from __future__ import annotations

import hashlib
import secrets

import pytest

from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, JsonDict, read_list, read_object
from tests.support.batches import read_results, send_items, wait_until_over
from tests.support.origin import Origin
from tests.support.tasks import create_task, wait_for_end


@pytest.fixture
def unique(picture: bytes) -> bytes:
    """A picture that no other test has ingested."""
    return picture + secrets.token_bytes(16)


@pytest.fixture
def path() -> str:
    """A path that no other test serves."""
    return f"/duplicates/{secrets.token_hex(6)}.jpg"


def _ingest(api: Api, url: str, status: int, **more: object) -> JsonDict:
    return read_object(api.post("/files", {"url": url, **more}), status)


def test_an_unchanged_source_is_not_fetched_again(
    api: Api, origin: Origin, unique: bytes, path: str
) -> None:
    url = origin.serve(path, unique, etag='"one"')
    file = _ingest(api, url, 201)
    sent = origin.sent_bytes(path)

    again = _ingest(api, url, 200, dedupe="url", filename=f"{secrets.token_hex(4)}.jpg")

    assert again == file
    # It hung up when it had read who that is.
    assert origin.sent_bytes(path) - sent <= len(unique)
    task = read_list(api.get("/tasks?limit=1"))[0][0]
    assert (task["status"], task["duplicate_of"], task["output"]) == ("complete", file["id"], file)
    assert read_list(api.get("/files?limit=1"))[0][0]["id"] == file["id"]
    # The name it would have had is nobody's.
    assert isinstance(task["input"], dict)
    assert _ingest(api, url, 201, filename=task["input"]["filename"])["id"] != file["id"]


@pytest.mark.parametrize("etag", [None, 'W/"one"', '"two"'])
def test_a_source_that_may_have_changed_is_fetched(
    etag: str | None, api: Api, origin: Origin, unique: bytes, path: str
) -> None:
    url = origin.serve(path, unique, etag='"one"')
    file = _ingest(api, url, 201)
    origin.serve(path, unique, etag=etag)
    assert _ingest(api, url, 201, dedupe="url")["id"] != file["id"]


def test_a_checksum_is_never_taken_on_trust(
    api: Api, origin: Origin, unique: bytes, path: str
) -> None:
    url = origin.serve(path, unique, etag='"one"')
    file = _ingest(api, url, 201)
    sha256 = f"sha256:{hashlib.sha256(unique).hexdigest()}"
    assert _ingest(api, url, 200, dedupe="url", checksum=sha256)["id"] == file["id"]
    md5 = f"md5:{hashlib.md5(unique, usedforsecurity=False).hexdigest()}"
    assert _ingest(api, url, 201, dedupe="url", checksum=md5)["id"] != file["id"]


def test_the_same_bytes_from_elsewhere_are_stored_once(
    api: Api, store: S3ObjectStore, origin: Origin, unique: bytes, path: str
) -> None:
    file = _ingest(api, origin.serve(path, unique), 201)
    folder = f"duplicates/{secrets.token_hex(6)}"
    other = origin.serve(f"{path}.other", unique)
    assert _ingest(api, other, 200, dedupe="content", folder=folder, filename="b.jpg") == file
    assert list(store.list_keys(f"{folder}/")) == []
    assert _ingest(api, other, 201, dedupe="none")["id"] != file["id"]


@pytest.mark.parametrize("dedupe", ["url", "content"])
def test_who_asks_for_a_signed_file_is_not_given_a_public_one(
    dedupe: str, api: Api, origin: Origin, unique: bytes, path: str
) -> None:
    url = origin.serve(path, unique, etag='"one"')
    public = _ingest(api, url, 201)
    signed = _ingest(api, url, 201, dedupe=dedupe, access="signed")
    assert (public["access"], signed["access"]) == ("public", "signed")
    assert _ingest(api, url, 200, dedupe=dedupe, access="signed") == signed
    assert _ingest(api, url, 200, dedupe=dedupe) == public


def test_a_long_file_that_is_there_leaves_no_upload(
    api: Api, store: S3ObjectStore, origin: Origin, path: str, video: bytes
) -> None:
    body = video + bytes(20 * 1024 * 1024) + secrets.token_bytes(8)
    file = _ingest(api, origin.serve(path, body), 201)
    folder = f"duplicates/{secrets.token_hex(6)}"
    other = origin.serve(f"{path}.other", body, ranges=True)
    assert _ingest(api, other, 200, dedupe="content", folder=folder)["id"] == file["id"]
    assert list(store.list_keys(f"{folder}/")) == []
    assert [one for one in store.list_uploads() if one.upload.key.startswith(folder)] == []


def test_a_file_that_is_deleted_is_no_duplicate(
    api: Api, origin: Origin, unique: bytes, path: str
) -> None:
    url = origin.serve(path, unique, etag='"one"')
    file = _ingest(api, url, 201)
    task = wait_for_end(api, create_task(api, url, dedupe="content"))
    assert task["duplicate_of"] == file["id"]
    assert api.delete(f"/files/{file['id']}").status_code == 200
    gone = read_object(api.get(f"/tasks/{task['id']}"))
    assert (gone["status"], gone["duplicate_of"], gone["output"]) == ("complete", file["id"], None)
    for by in ("url", "content"):
        new = wait_for_end(api, create_task(api, url, dedupe=by))
        assert new["duplicate_of"] is None
        output = new["output"]
        assert isinstance(output, dict)
        assert api.delete(f"/files/{output['id']}").status_code == 200


def test_a_batch_tells_of_each_row_which_file_it_is(
    api: Api, origin: Origin, unique: bytes, path: str
) -> None:
    url = origin.serve(path, unique, etag='"one"')
    file = _ingest(api, url, 201)
    batch = send_items(api, [{"url": url}, {"url": url}], defaults={"dedupe": "url"})
    batch = wait_until_over(api, batch)
    assert [one["file_id"] for one in read_results(api, batch)] == [file["id"]] * 2
    events = read_list(api.get("/events?type=task.completed&limit=1"))[0]
    data = events[0]["data"]
    assert isinstance(data, dict)
    assert isinstance(data["output"], dict)
    assert data["output"]["id"] == file["id"]
