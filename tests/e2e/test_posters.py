"""Posters, from the order to the picture behind the address; and what becomes of them later."""

from __future__ import annotations

import io
import secrets
from pathlib import Path
from typing import cast

import pytest
import requests
from PIL import Image
from sqlalchemy import text

from ingest.config import MIB
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders
from storage.records.database import Database
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.batches import read_batch, send_items, send_list, wait_until_over
from tests.support.media import make_media
from tests.support.origin import Origin, Stall
from tests.support.padding import pad_mp4
from tests.support.tasks import create_task, wait_for_end
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> str:
    """A folder that nobody else has."""
    return f"posters/{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def video_url(origin: Origin, video: bytes) -> str:
    return origin.serve("/posters/video.mp4", video)


def _ingest(api: Api, url: str, folder: str, **more: object) -> JsonDict:
    order = {"url": url, "folder": folder, "poster": True, **more}
    return read_object(api.post("/files", order), 201)


def _open(file: JsonDict) -> Image.Image:
    answer = requests.get(str(file["poster"]), timeout=10)
    assert answer.headers["Content-Type"] == "image/jpeg"
    shown = Image.open(io.BytesIO(answer.content))
    shown.load()
    return shown


def _find_key(file: JsonDict, folder: str) -> str:
    return f"{folder}/{file['id']}.poster.jpg"


def test_a_video_has_a_poster_beside_it_at_an_address_that_needs_no_key(
    api: Api, store: S3ObjectStore, video_url: str, folder: str
) -> None:
    file = _ingest(api, video_url, folder, filename="v.mp4")
    assert file["poster"] == f"{api.url}/delivery/{file['id']}.poster.jpg"
    assert _open(file).size == (file["width"], file["height"])
    found = store.describe(_find_key(file, folder))
    assert found is not None
    assert (found.content_type, found.metadata["headrace-file-id"]) == ("image/jpeg", file["id"])


def test_a_long_video_has_one_too(api: Api, origin: Origin, video: bytes, folder: str) -> None:
    url = origin.serve(f"/{folder}.mp4", pad_mp4(video, 20 * MIB), ranges=True)
    file = _ingest(api, url, folder)
    assert _open(file).size == (160, 120)


def test_a_picture_and_a_cover_have_one_and_sound_alone_has_none(
    api: Api, origin: Origin, picture_url: str, media_folder: Path, folder: str
) -> None:
    assert _open(_ingest(api, picture_url, folder)).size == (160, 120)
    for name, has_one in (("mp3_cover", True), ("mp3", False)):
        content = make_media(name, media_folder).read_bytes()
        file = _ingest(api, origin.serve(f"/{folder}/{name}", content), folder)
        assert (file["poster"] is not None) is has_one
        assert file["kind"] == "audio"


def test_the_poster_of_a_file_that_takes_a_signature_takes_one_of_its_own(
    api: Api, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder, access="signed")
    named = str(file["poster"]).rpartition("/")[2]
    assert requests.get(str(file["poster"]), timeout=10).status_code == 404
    own = read_object(api.post("/signatures", {"filename": named}))
    assert _open({"poster": own["url"]}).size == (160, 120)
    # That of the file opens the file alone, and that of the poster the poster.
    other = read_object(api.post("/signatures", {"filename": str(file["id"])}))
    assert requests.get(str(other["url"]), timeout=10).status_code == 200
    for url, signed in ((file["poster"], other), (file["url"], own)):
        query = str(signed["url"]).partition("?")[2]
        assert requests.get(f"{url}?{query}", timeout=10).status_code == 404


def test_without_being_asked_for_there_is_none(api: Api, picture_url: str, folder: str) -> None:
    for asked in (False, None):
        file = _ingest(api, picture_url, folder, poster=asked)
        assert file["poster"] is None
        path = f"/delivery/{file['id']}.poster.jpg"
        read_error(api.get(path), 404, "not_found")


def test_a_task_and_the_items_of_a_batch_take_it(api: Api, picture_url: str, folder: str) -> None:
    task = create_task(api, picture_url, folder=folder, poster=True)
    assert cast("JsonDict", task["options"])["poster"] is True
    ended = wait_for_end(api, task)
    assert cast("JsonDict", ended["output"])["poster"] is not None
    items: list[JsonDict] = [
        {"url": picture_url, "filename": "with.jpg"},
        {"url": picture_url, "filename": "without.jpg", "poster": False},
    ]
    batch = send_items(api, items, defaults={"folder": folder, "poster": True})
    assert _list_posters(api, batch) == {"with.jpg": True, "without.jpg": False}
    lines = [f"{picture_url},{folder},a.jpg,true", f"{picture_url},{folder},b.jpg,False"]
    lines += [f"{picture_url},{folder},c.jpg,", f"{picture_url},{folder},d.jpg,yes"]
    batch = send_list(api, "\n".join(["url,folder,filename,poster", *lines]), "text/csv")
    assert _list_posters(api, batch) == {"a.jpg": True, "b.jpg": False, "c.jpg": False}
    (reject,) = cast("list[JsonDict]", read_batch(api, batch)["rejects"])
    assert (reject["line"], reject["param"]) == (5, "poster")


def _list_posters(api: Api, batch: JsonDict) -> dict[object, bool]:
    wait_until_over(api, batch)
    tasks = api.get(f"/batches/{batch['id']}/tasks").json()["data"]
    return {one["output"]["filename"]: one["output"]["poster"] is not None for one in tasks}


def test_a_poster_goes_with_its_file(
    api: Api, store: S3ObjectStore, video_url: str, folder: str
) -> None:
    file = _ingest(api, video_url, folder, filename="v.mp4")
    assert store.describe(_find_key(file, folder)) is not None
    read_object(api.delete(f"/files/{file['id']}"))
    assert list(store.list_keys(f"{folder}/")) == []
    assert requests.get(str(file["poster"]), timeout=10).status_code == 404


def test_a_file_that_is_called_otherwise_keeps_its_poster_and_the_address_of_it(
    api: Api, store: S3ObjectStore, video_url: str, folder: str
) -> None:
    file = _ingest(api, video_url, folder, filename="v.mp4")
    moved = read_object(
        api.patch(f"/files/{file['id']}", {"folder": f"{folder}/there", "filename": "w.mp4"})
    )
    assert moved["poster"] == file["poster"]
    poster = _find_key(file, folder)
    wait_until(
        lambda: sorted(store.list_keys(f"{folder}/")) == [poster, f"{folder}/there/w.mp4"],
        "the object",
        20,
    )
    assert _open(moved).size == (160, 120)
    read_object(api.delete(f"/files/{file['id']}"))
    assert list(store.list_keys(f"{folder}/")) == []


def test_a_file_that_is_overwritten_takes_its_poster_along(
    api: Api, store: S3ObjectStore, video_url: str, picture_url: str, folder: str
) -> None:
    old = _ingest(api, video_url, folder, filename="a")
    new = _ingest(api, picture_url, folder, filename="a", if_exists="overwrite")
    _wait_until_gone(store, _find_key(old, folder))
    assert requests.get(str(old["poster"]), timeout=10).status_code == 404
    assert _open(new).size == (160, 120)
    last = _ingest(api, video_url, folder, filename="a", if_exists="overwrite", poster=None)
    _wait_until_gone(store, _find_key(new, folder))
    assert last["poster"] is None


def _wait_until_gone(store: S3ObjectStore, key: str) -> None:
    wait_until(lambda: store.describe(key) is None, "the old poster's end", 20)


def test_nobody_can_take_the_name_of_a_poster(
    api: Api, video_url: str, picture_url: str, folder: str
) -> None:
    file = _ingest(api, video_url, folder)
    name = f"{file['id']}.poster.jpg"
    order = {"url": picture_url, "folder": folder, "filename": name}
    assert read_error(api.post("/files", order), 422, "field_invalid")["param"] == "filename"
    renamed = api.patch(f"/files/{file['id']}", {"filename": name})
    assert read_error(renamed, 422, "field_invalid")["param"] == "filename"


def test_a_failed_ingest_leaves_no_poster(
    api: Api, store: S3ObjectStore, video_url: str, folder: str
) -> None:
    order = {"url": video_url, "folder": folder, "poster": True, "checksum": f"md5:{'0' * 32}"}
    read_error(api.post("/files", order), 422, "checksum_mismatch")
    assert list(store.list_keys(f"{folder}/")) == []


def test_a_poster_in_whose_place_a_stranger_lies_is_none_and_fails_nothing(
    api: Api,
    store: S3ObjectStore,
    database: Database,
    origin: Origin,
    video: bytes,
    folder: str,
) -> None:
    stall = Stall(at_bytes=100)
    url = origin.serve(f"/{folder}/slow.mp4", video, stall=stall)
    task = create_task(api, url, folder=folder, filename="v.mp4", poster=True)
    assert stall.reached.wait(10)
    with database.look() as connection:
        query = text("SELECT file_id FROM tasks WHERE id = :id")
        file_id = connection.execute(query, {"id": task["id"]}).scalar_one()
    key = f"{folder}/{file_id}.poster.jpg"
    store.put(key, b"theirs", ObjectHeaders("text/plain", "inline", {}), overwrite=False)
    stall.released.set()
    ended = wait_for_end(api, task)
    assert (ended["status"], ended["error"]) == ("complete", None)
    assert cast("JsonDict", ended["output"])["poster"] is None
    found = store.describe(key)
    assert found is not None
    assert found.size_bytes == len(b"theirs")
