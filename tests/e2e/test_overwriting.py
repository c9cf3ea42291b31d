"""A file takes the place of another: the old one is read until the new one is complete."""

from __future__ import annotations

import secrets

import pytest
import requests

from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.batches import read_results, send_items, wait_until_over
from tests.support.origin import Origin, Stall
from tests.support.tasks import wait_for_end
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> str:
    """A folder that nobody else has."""
    return f"overwriting/{secrets.token_hex(6)}"


def _order(url: str, folder: str) -> JsonDict:
    return {"url": url, "folder": folder, "filename": "a.bin", "if_exists": "overwrite"}


def _begin_slowly(api: Api, origin: Origin, body: bytes, folder: str) -> tuple[Stall, JsonDict]:
    """Return a task that overwrites, in the middle of its file until it is let go on."""
    stall = Stall(at_bytes=100)
    url = origin.serve(f"/{folder}/slow.mp4", body, stall=stall)
    order = _order(url, folder)
    task = read_object(api.post("/tasks", {"kind": "ingest", **order}), 201)
    assert stall.reached.wait(10)
    return stall, task


def _read(file: JsonDict) -> bytes:
    return requests.get(str(file["url"]), timeout=10).content


def _wait_for_object(store: S3ObjectStore, folder: str) -> None:
    wait_until(lambda: list(store.list_keys(f"{folder}/")) == [f"{folder}/a.bin"], "the object", 20)


def test_the_new_file_has_the_name_and_the_old_one_is_gone(
    api: Api, store: S3ObjectStore, picture_url: str, video: bytes, origin: Origin, folder: str
) -> None:
    old = read_object(api.post("/files", _order(picture_url, folder)), 201)
    url = origin.serve(f"/{folder}/v.mp4", video)

    new = read_object(api.post("/files", _order(url, folder)), 201)

    assert new["id"] != old["id"]
    assert (new["url"], new["filename"], new["kind"]) == (old["url"], "a.bin", "video")
    assert _read(new) == video
    assert read_error(api.get(f"/files/{old['id']}"), 404, "not_found")
    _wait_for_object(store, folder)
    assert _read(new) == video
    found = store.describe(f"{folder}/a.bin")
    assert found is not None
    assert (found.content_type, found.size_bytes) == ("video/mp4", len(video))


def test_a_failed_ingest_leaves_the_old_file_as_it_was(
    api: Api, store: S3ObjectStore, picture_url: str, picture: bytes, origin: Origin, folder: str
) -> None:
    old = read_object(api.post("/files", _order(picture_url, folder)), 201)
    page = origin.serve(f"/{folder}/page.html", b"<html><body>Sign in</body></html>")
    read_error(api.post("/files", _order(page, folder)), 422, "source_not_media")
    broken = origin.serve(f"/{folder}/broken.jpg", picture)
    order = {**_order(broken, folder), "checksum": f"sha256:{'0' * 64}"}
    read_error(api.post("/files", order), 422, "checksum_mismatch")
    assert read_object(api.get(f"/files/{old['id']}")) == old
    assert _read(old) == picture
    _wait_for_object(store, folder)
    # It waits for nobody any more.
    assert read_object(api.patch(f"/files/{old['id']}", {"filename": "b.bin"}))


def test_the_old_file_is_there_until_the_new_one_is_complete(
    api: Api, picture_url: str, picture: bytes, video: bytes, origin: Origin, folder: str
) -> None:
    old = read_object(api.post("/files", _order(picture_url, folder)), 201)
    stall, task = _begin_slowly(api, origin, video, folder)

    assert _read(old) == picture
    again = read_error(
        api.post("/tasks", {"kind": "ingest", **_order(picture_url, folder)}), 409, "file_exists"
    )
    assert "another task makes" in str(again["message"])
    renaming = api.patch(f"/files/{old['id']}", {"filename": "b.bin"})
    assert "replace the file" in str(read_error(renaming, 409, "conflict")["message"])

    stall.released.set()
    assert wait_for_end(api, task)["status"] == "complete"
    assert _read(old) == video


def test_the_name_of_a_file_that_is_deleted_goes_to_the_task_that_waits(
    api: Api, store: S3ObjectStore, picture_url: str, video: bytes, origin: Origin, folder: str
) -> None:
    old = read_object(api.post("/files", _order(picture_url, folder)), 201)
    stall, task = _begin_slowly(api, origin, video, folder)
    assert api.delete(f"/files/{old['id']}").status_code == 200
    read_error(
        api.post("/files", {"url": picture_url, "folder": folder, "filename": "a.bin"}),
        409,
        "file_exists",
    )
    stall.released.set()
    ended = wait_for_end(api, task)
    output = ended["output"]
    assert isinstance(output, dict)
    assert _read(output) == video
    _wait_for_object(store, folder)


def test_a_cancelled_task_leaves_the_name_to_its_file(
    api: Api, picture_url: str, picture: bytes, video: bytes, origin: Origin, folder: str
) -> None:
    old = read_object(api.post("/files", _order(picture_url, folder)), 201)
    stall, task = _begin_slowly(api, origin, video, folder)
    assert api.post(f"/tasks/{task['id']}/cancel", {}).status_code == 200
    stall.released.set()
    assert _read(old) == picture
    new = read_object(api.post("/files", _order(picture_url, folder)), 201)
    assert _read(new) == picture
    # Retried, it overwrites that one too.
    assert api.post(f"/tasks/{task['id']}/retry", {}).status_code == 200
    assert wait_for_end(api, task)["status"] == "complete"
    assert _read(old) == video


def test_a_batch_overwrites_what_is_there_and_refuses_to_overwrite_itself(
    api: Api, store: S3ObjectStore, picture_url: str, video: bytes, origin: Origin, folder: str
) -> None:
    old = read_object(api.post("/files", _order(picture_url, folder)), 201)
    url = origin.serve(f"/{folder}/v.mp4", video)
    items: list[JsonDict] = [
        _order(url, folder),
        _order(picture_url, folder),
        {"url": url, "folder": folder},
    ]
    batch = wait_until_over(api, send_items(api, items))
    results = read_results(api, batch)
    assert [one["error_code"] for one in results] == [None, "file_exists", None]
    assert _read(old) == video
    wait_until(lambda: len(list(store.list_keys(f"{folder}/"))) == 2, "two objects", 20)
    assert _read(old) == video
