"""Where a file may land: a folder and a name are kept as they were written, or refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

import pytest
import requests

from ingest.ids import Prefix
from storage.objects.s3 import S3ObjectStore
from tests.e2e.refusals import refuse
from tests.support.api import ULID, Api, read_error, read_list, read_object

URL = "http://nowhere.invalid/a.mp4"


@pytest.fixture(scope="module")
def project(open_project: Callable[[], Api]) -> Iterator[Api]:
    """A project in which nothing may be left by anything that was refused."""
    api = open_project()
    yield api
    assert read_list(api.get("/tasks"))[1]["total"] == 0


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

BAD_SEGMENTS = [
    ("..", "'..'"),
    (".", "'.'"),
    ("", "is empty"),
    ("a\nb", "U+000A"),
    ("a\x7fb", "U+007F"),
    ("a\x85b", "U+0085"),
    ("a\u202eb", "U+202E"),
    ("a\u200bb", "U+200B"),
    ("a\ufeffb", "U+FEFF"),
    ("a\u2028b", "U+2028"),
    ("a\ue000b", "U+E000"),
    (" a", "white space"),
    ("a ", "white space"),
    ("a\u3000", "white space"),
    ("a\\b", "backslash"),
    ("..\\..\\a", "backslash"),
    ("x" * 256, "255"),
    ("x" * 2000, "255"),
    ("\U0001f3ac" * 64, "255"),
]


@pytest.mark.parametrize("field", ["folder", "filename"])
@pytest.mark.parametrize(("value", "said"), BAD_SEGMENTS, ids=lambda value: ascii(value[:20]))
def test_a_name_that_has_no_safe_place_is_refused(
    field: str, value: str, said: str, project: Api
) -> None:
    assert said in refuse(project, {"url": URL, field: value}, field)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/a", "starts with '/'"),
        ("/", "starts with '/'"),
        ("//a", "starts with '/'"),
        ("a//b", "'//'"),
        ("a//", "'//'"),
        ("../a", "'..'"),
        ("a/../b", "'..'"),
        ("a/..", "'..'"),
        ("a/./b", "'.'"),
        ("a/ /b", "white space"),
        ("/".join(["x" * 200] * 10), "1024"),
    ],
    ids=lambda value: value[:20],
)
def test_a_folder_that_leaves_its_place_is_refused(folder: str, said: str, project: Api) -> None:
    assert said in refuse(project, {"url": URL, "folder": folder}, "folder")


@pytest.mark.parametrize("filename", ["a/b", "/a", "../a", f"{Prefix.FILE}_{ULID}.mp4"])
def test_a_filename_that_is_a_path_or_an_id_is_refused(filename: str, project: Api) -> None:
    refuse(project, {"url": URL, "filename": filename}, "filename")


@pytest.mark.parametrize("filename", ["x" * 255, None])
def test_a_key_that_is_too_long_as_a_whole_is_refused(filename: str | None, project: Api) -> None:
    folder = "/".join(["f" * 250] * 4)
    order = {"url": URL, "folder": folder, "filename": filename}
    for path, extra in (("/files", {}), ("/tasks", {"kind": "ingest"})):
        error = read_error(project.post(path, {**extra, **order}), 422, "field_invalid")
        assert "1024" in str(error["message"])
        assert error["param"] == ("folder" if filename is None else "filename")


@pytest.mark.parametrize(
    ("folder", "filename"),
    [
        ("emoji/\U0001f3ac", "\U0001f600.jpg"),
        ("family", f"{FAMILY}.jpg"),
        ("nfd", "e\u0301te\u0301.jpg"),
        ("\u6620\u753b", "\u540d\u524d.jpg"),
        ("percent%2e%2e", "%2e%2e%2fa%00.jpg"),
        ("dots...", "..a..jpg"),
        (".hidden", ".jpg"),
        ("with space", "a b  c.jpg"),
        ("slash-at-the-end/", "a.jpg"),
        ("marks", "a?b#c&d=e+f;g,h'i\"j*k|l<m>n:o.jpg"),
        ("right-to-left", "\u0634\u0645\u0633.jpg"),
        ("x" * 255, "y" * 255),
    ],
    ids=ascii,
)
def test_a_name_that_is_taken_is_kept_and_leads_to_the_bytes(
    folder: str, filename: str, api: Api, picture: bytes, picture_url: str, store: S3ObjectStore
) -> None:
    order = {"url": picture_url, "folder": folder, "filename": filename}

    file = read_object(api.post("/files", order), 201)

    assert file["folder"] == unicodedata.normalize("NFC", folder).removesuffix("/")
    assert file["filename"] == unicodedata.normalize("NFC", filename)
    stored = store.describe(f"{file['folder']}/{file['filename']}")
    assert stored is not None
    assert stored.size_bytes == len(picture)
    assert requests.get(str(file["url"]), timeout=10).content == picture


def test_two_spellings_of_one_name_are_one_name(api: Api, picture_url: str) -> None:
    order = {"url": picture_url, "folder": "spelling", "filename": "caf\u00e9.jpg"}
    read_object(api.post("/files", order), 201)
    again = {**order, "folder": "spelling/", "filename": "cafe\u0301.jpg"}
    read_error(api.post("/files", again), 409, "file_exists")


def test_no_folder_leads_into_another_projects_place(
    api: Api, open_project: Callable[[], Api], picture_url: str
) -> None:
    other = open_project()
    theirs = read_object(other.post("/files", {"url": picture_url, "filename": "a.jpg"}), 201)
    prefix = str(theirs["url"]).split("/")[-2]

    # The first project's prefix is empty, so only this check keeps it out of the others'.
    for folder in (prefix, f"{prefix}/deeper"):
        for filename in ("a.jpg", "b.jpg", None):
            order = {"url": picture_url, "folder": folder, "filename": filename}
            error = read_error(api.post("/files", order), 422, "field_invalid")
            assert error["param"] == "folder"
    named = api.post("/files", {"url": picture_url, "filename": prefix})
    assert read_error(named, 422, "field_invalid")["param"] == "filename"
    near = read_object(api.post("/files", {"url": picture_url, "folder": prefix + "x"}), 201)
    assert near["folder"] == prefix + "x"
    assert read_object(other.get(f"/files/{theirs['id']}")) == theirs
