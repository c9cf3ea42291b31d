"""A file takes the place of another: the old one is read until the new one is complete."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
import requests

from ingest.model import Limits
from storage.objects.s3 import S3ObjectStore
from storage.records import projects
from storage.records.database import Database
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


def _wait_for_object(store: S3ObjectStore, folder: str, file_id: object) -> None:
    def is_there() -> bool:
        found = store.describe(f"{folder}/a.bin")
        return found is not None and found.metadata["headrace-file-id"] == file_id

    wait_until(is_there, "the object", 20)


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
    _wait_for_object(store, folder, new["id"])
    assert _read(new) == video
    found = store.describe(f"{folder}/a.bin")
    assert found is not None
    assert (found.content_type, found.size_bytes) == ("video/mp4", len(video))


def test_an_order_without_a_filename_may_say_overwrite(
    api: Api, picture_url: str, folder: str
) -> None:
    order = {"url": picture_url, "folder": folder, "if_exists": "overwrite"}
    assert read_object(api.post("/files", order), 201)["folder"] == folder


def test_whoever_was_led_to_the_new_object_before_it_was_moved_reads_it_still(
    api: Api, store: S3ObjectStore, picture_url: str, video: bytes, origin: Origin, folder: str
) -> None:
    read_object(api.post("/files", _order(picture_url, folder)), 201)
    url = origin.serve(f"/{folder}/v.mp4", video)
    new = read_object(api.post("/files", _order(url, folder)), 201)

    told = requests.get(str(new["url"]), timeout=10, allow_redirects=False)
    _wait_for_object(store, folder, new["id"])

    assert requests.get(told.headers["Location"], timeout=10).content == video

    def is_moved() -> bool:
        later = requests.get(str(new["url"]), timeout=10, allow_redirects=False)
        is_kept = "max-age" in later.headers["Cache-Control"]
        assert is_kept or later.headers["Cache-Control"] == "no-store"
        return is_kept and f"{folder}/a.bin" in later.headers["Location"]

    wait_until(is_moved, "the redirect to its place", 20)
    # Deleted, it is nowhere any more.
    assert api.delete(f"/files/{new['id']}").status_code == 200
    wait_until(lambda: list(store.list_keys(f"{folder}/")) == [], "nothing", 20)


def test_a_project_that_is_full_may_overwrite_what_it_has(
    open_project: Callable[[], Api],
    database: Database,
    picture_url: str,
    picture: bytes,
    folder: str,
) -> None:
    full = open_project()
    old = read_object(full.post("/files", _order(picture_url, folder)), 201)
    with database.transaction() as connection:
        projects.set_limits(
            connection, str(read_object(full.get("/project"))["id"]), Limits(None, len(picture))
        )
    read_error(full.post("/files", {"url": picture_url}), 403, "quota_exceeded")

    new = read_object(full.post("/files", _order(picture_url, folder)), 201)

    assert new["id"] != old["id"]
    usage = read_object(full.get("/project"))["usage"]
    assert isinstance(usage, dict)
    assert usage["stored_bytes"] == len(picture)
    order = {**_order(picture_url, folder), "filename": "another.bin"}
    read_error(full.post("/files", order), 422, "quota_exceeded")


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
    assert list(store.list_keys(f"{folder}/")) == [f"{folder}/a.bin"]
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
    _wait_for_object(store, folder, output["id"])
    assert _read(output) == video


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
    _wait_for_object(store, folder, results[0]["file_id"])
    assert _read(old) == video
