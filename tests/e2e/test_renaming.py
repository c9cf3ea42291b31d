"""A file is called otherwise: its address at once, its object soon, and its old name is free."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
import requests

from ingest.ids import Prefix, make_id
from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> str:
    """A folder that nobody else has."""
    return f"renaming/{secrets.token_hex(6)}"


def _ingest(api: Api, url: str, folder: str, filename: str | None = "a.jpg") -> JsonDict:
    order = {"url": url, "folder": folder, "filename": filename}
    return read_object(api.post("/files", order), 201)


def _rename(api: Api, file: JsonDict, **names: object) -> JsonDict:
    return read_object(api.patch(f"/files/{file['id']}", names))


def _list_objects(store: S3ObjectStore, folder: str) -> list[str]:
    return sorted(key.removeprefix(f"{folder}/") for key in store.list_keys(f"{folder}/"))


def _wait_for_objects(store: S3ObjectStore, folder: str, *expected: str) -> None:
    wait_until(lambda: _list_objects(store, folder) == sorted(expected), "the objects", 20)


def test_a_file_is_read_under_its_new_name_at_once_and_its_object_follows(
    api: Api, store: S3ObjectStore, picture_url: str, picture: bytes, folder: str
) -> None:
    file = _ingest(api, picture_url, folder)

    renamed = _rename(api, file, filename="b ü.jpg", ref="mine")

    assert (renamed["folder"], renamed["filename"]) == (folder, "b ü.jpg")
    assert renamed["ref"] == "mine"
    assert renamed["id"] == file["id"]
    assert str(renamed["url"]).endswith(f"/delivery/{folder}/b%20%C3%BC.jpg")
    stored = requests.get(str(renamed["url"]), timeout=10)
    assert stored.content == picture
    assert "b%20%C3%BC.jpg" in stored.headers["Content-Disposition"]
    assert requests.get(str(file["url"]), timeout=10).status_code == 404
    _wait_for_objects(store, folder, "b ü.jpg")
    stored = requests.get(str(renamed["url"]), timeout=10)
    assert stored.content == picture
    moved = store.describe(f"{folder}/b ü.jpg")
    assert moved is not None
    assert moved.content_type == "image/jpeg"
    assert moved.metadata["headrace-file-id"] == file["id"]
    assert f"sha256:{moved.metadata['headrace-sha256']}" == file["checksum"]
    assert read_object(api.get(f"/files/{file['id']}")) == renamed


def test_the_old_name_is_free_once_the_object_has_left_it(
    api: Api, store: S3ObjectStore, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder)
    _rename(api, file, folder=f"{folder}/below")
    _wait_for_objects(store, folder, "below/a.jpg")
    again = wait_until(
        lambda: (
            answer
            if (
                answer := api.post(
                    "/files", {"url": picture_url, "folder": folder, "filename": "a.jpg"}
                )
            ).status_code
            == 201
            else None
        ),
        "the name",
        10,
    )
    assert read_object(again, 201)["id"] != file["id"]
    _wait_for_objects(store, folder, "a.jpg", "below/a.jpg")


def test_a_file_that_nobody_named_is_named(
    api: Api, store: S3ObjectStore, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder, None)
    assert _list_objects(store, folder) == [f"{file['id']}.jpg"]
    moved = _rename(api, file, folder=f"{folder}/x")
    assert moved["url"] == file["url"]
    # Those who were led to a place that is called by the id have a while yet.
    own = f"{file['id']}.jpg"
    _wait_for_objects(store, folder, own, f"x/{own}")
    named = _rename(api, file, filename="named.jpg")
    assert str(named["url"]).endswith(f"{folder}/x/named.jpg")
    _wait_for_objects(store, folder, own, f"x/{own}", "x/named.jpg")


def test_a_file_is_renamed_there_and_back_and_on_without_a_pause(
    api: Api, store: S3ObjectStore, picture_url: str, picture: bytes, folder: str
) -> None:
    file = _ingest(api, picture_url, folder)
    for name in ("b.jpg", "a.jpg", "c.jpg", "b.jpg", "a.jpg", "d.jpg"):
        renamed = _rename(api, file, filename=name)
        assert requests.get(str(renamed["url"]), timeout=10).content == picture
    _wait_for_objects(store, folder, "d.jpg")
    assert requests.get(str(renamed["url"]), timeout=10).content == picture


def test_what_is_left_out_or_null_stays(api: Api, picture_url: str, folder: str) -> None:
    file = _ingest(api, picture_url, folder)
    same = _rename(api, file, folder=None, filename=None)
    assert (same["url"], same["folder"], same["filename"]) == (file["url"], folder, "a.jpg")
    same = _rename(api, file, folder=folder, filename="a.jpg")
    assert same["url"] == file["url"]


def test_a_name_that_is_taken_is_refused_and_nothing_changes(
    api: Api, store: S3ObjectStore, picture_url: str, folder: str
) -> None:
    file, other = _ingest(api, picture_url, folder), _ingest(api, picture_url, folder, "b.jpg")
    before = read_object(api.get(f"/files/{file['id']}"))
    error = read_error(
        api.patch(f"/files/{file['id']}", {"filename": "b.jpg", "ref": "x"}), 409, "file_exists"
    )
    assert error["param"] == "filename"
    assert read_object(api.get(f"/files/{file['id']}")) == before
    assert _list_objects(store, folder) == ["a.jpg", "b.jpg"]
    assert read_object(api.get(f"/files/{other['id']}"))["filename"] == "b.jpg"


@pytest.mark.parametrize(
    "names", [{"filename": "../x"}, {"folder": "/x"}, {"filename": ""}, {"folder": "a//b"}]
)
def test_a_bad_name_is_refused_by_field(
    names: JsonDict, api: Api, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder)
    error = read_error(api.patch(f"/files/{file['id']}", names), 422, "field_invalid")
    assert error["param"] == next(iter(names))


def test_a_file_is_moved_into_no_other_project(
    api: Api, open_project: Callable[[], Api], picture_url: str, folder: str
) -> None:
    other = open_project()
    theirs = read_object(other.post("/files", {"url": picture_url, "filename": "a.jpg"}), 201)
    prefix = str(theirs["url"]).rpartition("/delivery/")[2].split("/")[0]
    file = _ingest(api, picture_url, folder)
    answer = api.patch(f"/files/{file['id']}", {"folder": prefix})
    assert "place of another project" in str(read_error(answer, 422, "field_invalid")["message"])
    assert other.patch(f"/files/{file['id']}", {"filename": "x.jpg"}).status_code == 404
    unknown = make_id(Prefix.FILE)
    assert api.patch(f"/files/{unknown}", {"filename": "x.jpg"}).status_code == 404


def test_a_file_that_is_deleted_while_it_is_moved_leaves_nothing(
    api: Api, store: S3ObjectStore, picture_url: str, folder: str
) -> None:
    for _ in range(5):
        file = _ingest(api, picture_url, folder)
        _rename(api, file, filename="b.jpg")
        assert api.delete(f"/files/{file['id']}").status_code == 200
        _wait_for_objects(store, folder)
        wait_until(
            lambda: read_list(api.get(f"/events?subject_id={file['id']}"))[1]["total"] == 3,  # noqa: B023
            "the events",
            5,
        )
        wait_until(lambda: _is_free(api, picture_url, folder), "the name", 10)
        _wait_for_objects(store, folder)


def _is_free(api: Api, url: str, folder: str) -> bool:
    answer = api.post("/files", {"url": url, "folder": folder, "filename": "a.jpg"})
    if answer.status_code == 409:
        return False
    return api.delete(f"/files/{read_object(answer, 201)['id']}").status_code == 200
