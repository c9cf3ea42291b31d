"""A file's address: it stays, needs no key, and leads to the bytes under their true type."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests

from ingest.config import Settings
from ingest.ids import Prefix
from ingest.naming import make_disposition
from storage.objects.s3 import S3ObjectStore
from tests.support.api import ULID, Api, JsonDict, read_error, read_object
from tests.support.origin import Origin


def _ingest(api: Api, url: str, folder: str, filename: str | None) -> JsonDict:
    order = {"url": url, "folder": f"delivery/{folder}", "filename": filename}
    return read_object(api.post("/files", order), 201)


def test_an_address_redirects_to_the_store_for_a_while(
    api: Api, picture: bytes, picture_url: str, settings: Settings
) -> None:
    file = _ingest(api, picture_url, "redirect", "a.jpg")

    answer = requests.get(str(file["url"]), timeout=10, allow_redirects=False)

    assert answer.status_code == 302
    assert answer.headers["Cache-Control"] == "private, max-age=150"
    target = answer.headers["Location"]
    bucket = f"{settings.s3_endpoint}/{settings.s3_bucket}"
    assert target.startswith(f"{bucket}/delivery/redirect/a.jpg?")
    assert parse_qs(urlsplit(target).query)["X-Amz-Expires"] == ["300"]
    assert requests.get(target, timeout=10).content == picture
    tampered = target.replace("a.jpg", "b.jpg")
    assert requests.get(tampered, timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("filename", "plain"),
    [
        ("plain.jpg", "plain.jpg"),
        ("with space.jpg", "with space.jpg"),
        ("\U0001f3ac.jpg", "_.jpg"),
        ("caf\u00e9 \u6620\u753b.jpg", "caf_ __.jpg"),
        ('"quoted".jpg', "_quoted_.jpg"),
        ("100%;a=b, 'c'.jpg", "100_;a=b, 'c'.jpg"),
        ("no-extension", "no-extension"),
        ("page.html", "page.html"),
    ],
    ids=ascii,
)
def test_the_bytes_come_under_their_true_type_and_their_name(
    filename: str, plain: str, api: Api, origin: Origin, picture: bytes
) -> None:
    url = origin.serve("/delivery/lies.html", picture, content_type="text/html")
    file = _ingest(api, url, "names", filename)

    answer = requests.get(str(file["url"]), timeout=10)

    assert answer.content == picture
    assert answer.headers["Content-Type"] == "image/jpeg"
    shown, ascii_name, name = answer.headers["Content-Disposition"].split("; f")
    assert (shown, ascii_name) == ("inline", f'ilename="{plain}"')
    assert name.startswith("ilename*=UTF-8''")
    assert unquote(name.removeprefix("ilename*=UTF-8''")) == filename


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/delivery/holiday%20%F0%9F%8F%96.jpg?sig=s3cr3t", "holiday \U0001f3d6.jpg"),
        ("/delivery/folder/", "{id}.jpg"),
        ("/delivery/..%2f..%2fetc%2fpasswd", "passwd"),
        ("/delivery/a%00b%0d%0aX.jpg", "abX.jpg"),
    ],
)
def test_a_file_that_nobody_named_is_saved_under_its_sources_name(
    path: str, wanted: str, api: Api, origin: Origin, picture: bytes
) -> None:
    file = read_object(api.post("/files", {"url": origin.serve(path, picture)}), 201)

    answer = requests.get(str(file["url"]), timeout=10)

    name = answer.headers["Content-Disposition"].partition("UTF-8''")[2]
    assert unquote(name) == wanted.replace("{id}", str(file["id"]))


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (
            "attachment; filename=a.jpg; filename*=UTF-8''%F0%9F%8F%96%20holiday.jpg",
            "🏖 holiday.jpg",
        ),
        ('attachment; filename="../../etc/holiday.jpg"', "holiday.jpg"),
        ("attachment; filename=..", "from the url.jpg"),
    ],
)
def test_what_a_source_calls_its_file_is_the_objects_name_to_browsers_and_no_part_of_its_key(
    disposition: str,
    name: str,
    api: Api,
    origin: Origin,
    picture: bytes,
    store: S3ObjectStore,
) -> None:
    headers = {"Content-Disposition": disposition}
    url = origin.serve("/delivery/from%20the%20url.jpg", picture, headers=headers)
    file = read_object(api.post("/files", {"url": url, "folder": "delivery/called"}), 201)

    key = f"delivery/called/{file['id']}.jpg"
    for address in (store.presign(key, 60), str(file["url"])):
        answer = requests.get(address, timeout=10)
        assert answer.content == picture
        assert answer.headers["Content-Disposition"] == make_disposition(name)


def test_head_and_ranges_work_through_the_redirect(api: Api, origin: Origin, video: bytes) -> None:
    file = _ingest(api, origin.serve("/delivery/a.mp4", video), "ranges", "a.mp4")
    url = str(file["url"])

    head = requests.head(url, timeout=10, allow_redirects=True)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(video))
    assert head.headers["Content-Type"] == "video/mp4"
    part = requests.get(url, headers={"Range": "bytes=10-19"}, timeout=10)
    assert (part.status_code, part.content) == (206, video[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(video)}"
    assert part.headers["Accept-Ranges"] == "bytes"
    end = requests.get(url, headers={"Range": "bytes=-7"}, timeout=10)
    assert (end.status_code, end.content) == (206, video[-7:])
    beyond = requests.get(url, headers={"Range": f"bytes={len(video)}-"}, timeout=10)
    assert beyond.status_code == 416


def test_a_file_is_found_under_its_id_and_under_its_key(
    api: Api, picture: bytes, picture_url: str
) -> None:
    named = _ingest(api, picture_url, "both", "a.jpg")
    unnamed = _ingest(api, picture_url, "both", None)
    for path in (
        "delivery/both/a.jpg",
        named["id"],
        unnamed["id"],
        f"delivery/both/{unnamed['id']}.jpg",
    ):
        answer = requests.get(f"{api.url}/delivery/{path}", timeout=10)
        assert answer.content == picture
    assert unnamed["url"] == f"{api.url}/delivery/{unnamed['id']}"


def test_a_name_in_the_shape_of_an_id_cannot_stand_before_one(api: Api, picture_url: str) -> None:
    file = _ingest(api, picture_url, "shape", None)
    order = {"url": picture_url, "filename": file["id"]}
    error = read_error(api.post("/files", order), 422, "field_invalid")
    assert "file id" in str(error["message"])


def test_a_deleted_file_is_gone_from_the_bucket_and_its_name_is_free(
    api: Api, picture_url: str, store: S3ObjectStore
) -> None:
    file = _ingest(api, picture_url, "deleted", "a.jpg")
    assert store.describe("delivery/deleted/a.jpg") is not None

    assert api.delete(f"/files/{file['id']}").status_code == 200

    assert store.describe("delivery/deleted/a.jpg") is None
    read_error(api.get(str(file["url"])), 404, "not_found")
    read_error(api.get(f"/delivery/{file['id']}"), 404, "not_found")
    again = _ingest(api, picture_url, "deleted", "a.jpg")
    assert (again["url"], again["id"] != file["id"]) == (file["url"], True)


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "delivery/redirect",
        "delivery/redirect/",
        "delivery/redirect/a.jpg/",
        "delivery/redirect//a.jpg",
        "delivery/redirect/A.jpg",
        "delivery/redirect/../redirect/a.jpg",
        "delivery/redirect/a.jpg%00",
        "%00",
        "%ff%fe",
        "%F0%9F%8E%AC",
        "a" * 2000,
        "'%20OR%20'1'='1",
        "%25",
        f"{Prefix.FILE}_{ULID}",
        f"{Prefix.TASK}_{ULID}",
        f"{Prefix.FILE}_{ULID}%0a",
    ],
)
def test_what_is_not_there_is_404(path: str, api: Api) -> None:
    for method in ("GET", "HEAD"):
        assert api.send_untidied(method, f"/delivery/{path}").status_code == 404
    read_error(api.send_untidied("GET", f"/delivery/{path}"), 404, "not_found")


def test_no_key_is_asked_for_and_a_wrong_one_is_no_matter(api: Api, picture_url: str) -> None:
    file = _ingest(api, picture_url, "keys", "a.jpg")
    for headers in ({}, {"Authorization": "Bearer hr_wrong"}):
        answer = requests.get(str(file["url"]), headers=headers, timeout=10, allow_redirects=False)
        assert answer.status_code == 302


def test_another_projects_file_has_an_address_of_its_own(
    open_project: Callable[[], Api], picture: bytes, picture_url: str
) -> None:
    other = open_project()
    file = _ingest(other, picture_url, "prefix", "a.jpg")
    prefix = urlsplit(str(file["url"])).path.split("/")[2]
    assert prefix.startswith("project-")
    assert file["folder"] == "delivery/prefix"
    assert requests.get(str(file["url"]), timeout=10).content == picture


def test_the_object_carries_its_type_its_name_and_whose_it_is(
    api: Api, picture_url: str, store: S3ObjectStore
) -> None:
    file = _ingest(api, picture_url, "headers", "\u6620.jpg")
    stored = store.describe("delivery/headers/\u6620.jpg")
    assert stored is not None
    assert stored.content_type == "image/jpeg"
    assert stored.metadata == {
        "headrace-file-id": file["id"],
        "headrace-attempt": "1",
        "headrace-sha256": str(file["checksum"]).removeprefix("sha256:"),
    }
