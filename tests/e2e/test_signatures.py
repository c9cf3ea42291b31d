"""Signed URLs that read a file: good for that file, until they end, and for nothing else."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
import requests

from ingest.ids import Prefix, make_id
from tests.support.api import ULID, Api, JsonDict, read_error, read_list, read_object
from tests.support.batches import send_items, send_list, wait_until_over
from tests.support.tasks import create_task, wait_for_end
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> str:
    """A folder that no other test uses."""
    return f"signatures/{secrets.token_hex(6)}"


def _sign(api: Api, **asked: object) -> JsonDict:
    return read_object(api.post("/signatures", asked))


def _ingest(api: Api, url: str, **more: object) -> JsonDict:
    return read_object(api.post("/files", {"url": url, **more}), 201)


def _fetch(url: object, **headers: str) -> requests.Response:
    return requests.get(str(url), headers=headers, timeout=10)


def _change_query(url: object, **changed: str) -> str:
    parts = urlsplit(str(url))
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changed
    return parts._replace(query=urlencode(query)).geturl()


def test_a_signature_has_the_published_shape(api: Api, folder: str) -> None:
    before = int(time.time())
    found = _sign(api, filename="a b.mp4", folder=folder, expiry=before + 60, method="GET")
    assert list(found) == ["domain", "filename", "folder", "expiry", "method", "signature", "url"]
    assert (found["filename"], found["folder"]) == ("a b.mp4", folder)
    assert (found["expiry"], found["method"]) == (before + 60, "get")
    assert f"http://{found['domain']}" == api.url
    url = f"{api.url}/delivery/{folder}/a%20b.mp4"
    assert found["url"] == f"{url}?expiry={before + 60}&signature={found['signature']}"


@pytest.mark.parametrize(
    "more", [{}, {"folder": None, "expiry": None, "method": None}, {"method": "get"}]
)
def test_a_filename_is_enough_and_null_is_nothing(api: Api, more: JsonDict) -> None:
    before = int(time.time())
    found = _sign(api, filename="a.mp4", **more)
    assert (found["folder"], found["method"]) == (None, "get")
    assert isinstance(found["expiry"], int)
    assert before + 3600 <= found["expiry"] <= time.time() + 3600


def test_a_version_of_published_clients_has_the_bare_object(api: Api) -> None:
    answer = api.post("/signatures", {"filename": "a.mp4"}, {"Accept-Version": "2025-08-20"})
    assert (answer.status_code, answer.headers["Content-Version"]) == (200, "2025-08-20")
    assert next(iter(answer.json())) == "domain"


def test_a_signed_file_is_read_by_a_signed_url_alone(
    api: Api, picture: bytes, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder=folder, filename="a.jpg", access="signed")
    assert file["access"] == "signed"
    assert file["url"] == f"{api.url}/delivery/{folder}/a.jpg"
    nothing = read_error(api.get(f"/delivery/{folder}/b.jpg"), 404, "not_found")
    for path in (str(file["url"]), f"/delivery/{file['id']}"):
        assert read_error(api.get(path), 404, "not_found") == nothing

    signed = _sign(api, folder=folder, filename="a.jpg")

    answer = _fetch(signed["url"])
    assert (answer.status_code, answer.content) == (200, picture)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert requests.head(str(signed["url"]), timeout=10, allow_redirects=True).status_code == 200
    by_id = _sign(api, filename=file["id"])
    assert by_id["url"] != signed["url"]
    assert _fetch(by_id["url"]).content == picture


def test_a_signed_file_that_nobody_named_is_read_by_its_id(
    api: Api, picture: bytes, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder=folder, access="signed")
    assert _fetch(file["url"]).status_code == 404
    for asked in ({"filename": file["id"]}, {"folder": folder, "filename": f"{file['id']}.jpg"}):
        assert _fetch(_sign(api, **asked)["url"]).content == picture


@pytest.mark.parametrize("access", ["public", "signed"])
def test_a_signature_is_good_for_nothing_else(
    access: str, api: Api, picture_url: str, folder: str
) -> None:
    _ingest(api, picture_url, folder=folder, filename="a.jpg", access=access)
    _ingest(api, picture_url, folder=folder, filename="b.jpg", access=access)
    signed = _sign(api, folder=folder, filename="a.jpg")
    url, signature = str(signed["url"]), str(signed["signature"])
    assert _fetch(url).status_code == 200
    last = "0" if signature[-1] != "0" else "1"
    bad = [
        url.replace("a.jpg", "b.jpg"),
        _change_query(url, expiry=str(int(str(signed["expiry"])) + 1)),
        _change_query(url, expiry=str(int(str(signed["expiry"])) - 1)),
        _change_query(url, expiry=f"0{signed['expiry']}"),
        _change_query(url, expiry="-1"),
        _change_query(url, expiry="\u0661"),
        _change_query(url, expiry="9" * 5000),
        _change_query(url, signature=signature[:-1] + last),
        _change_query(url, signature=signature.upper() + "a"),
        _change_query(url, signature=""),
        _change_query(url, signature="\u00fc\x00"),
        url.partition("?")[0] + f"?signature={signature}",
    ]
    nothing = read_error(api.get(f"/delivery/{folder}/c.jpg"), 404, "not_found")
    for one in bad:
        assert read_error(api.get(one), 404, "not_found") == nothing, one


def test_a_signature_ends(api: Api, picture_url: str, folder: str) -> None:
    _ingest(api, picture_url, folder=folder, filename="a.jpg", access="signed")
    ends = int(time.time()) + 3
    url = str(_sign(api, folder=folder, filename="a.jpg", expiry=ends)["url"])

    answer = api.get(url)

    assert answer.status_code == 302
    # What it leads to holds no longer.
    target = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert 1 <= int(target["X-Amz-Expires"][0]) <= 3
    assert answer.headers["Cache-Control"] in {"private, max-age=0", "private, max-age=1"}
    wait_until(lambda: api.get(url).status_code == 404, "the end of a signature")
    assert time.time() >= ends


def test_an_unknown_file_is_signed_and_not_there(
    api: Api, picture: bytes, picture_url: str, folder: str
) -> None:
    urls = [
        _sign(api, folder=folder, filename="later.jpg")["url"],
        _sign(api, filename=make_id(Prefix.FILE))["url"],
    ]
    for url in urls:
        read_error(api.get(str(url)), 404, "not_found")
    _ingest(api, picture_url, folder=folder, filename="later.jpg", access="signed")
    assert _fetch(urls[0]).content == picture


def test_nobody_signs_for_another_project(
    api: Api, open_project: Callable[[], Api], picture: bytes, picture_url: str, folder: str
) -> None:
    owner, stranger = open_project(), open_project()
    file = _ingest(owner, picture_url, folder=folder, filename="a.jpg", access="signed")
    key = unquote(urlsplit(str(file["url"])).path.removeprefix("/delivery/"))
    prefix = key.partition("/")[0]
    assert _fetch(_sign(owner, folder=folder, filename="a.jpg")["url"]).content == picture
    # The first project's prefix is empty, so it can write down any key there is.
    for other, place in ((api, f"{prefix}/{folder}"), (stranger, folder)):
        signed = _sign(other, folder=place, filename="a.jpg")
        read_error(other.get(str(signed["url"])), 404, "not_found")
        terms = {"expiry": str(signed["expiry"]), "signature": str(signed["signature"])}
        read_error(other.get(_change_query(file["url"], **terms)), 404, "not_found")
        read_error(other.get(str(_sign(other, filename=file["id"])["url"])), 404, "not_found")


def test_access_is_changed_and_holds_for_what_is_asked_from_then_on(
    api: Api, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder=folder, filename="a.jpg")
    assert file["access"] == "public"
    path = f"/files/{file['id']}"

    assert read_object(api.patch(path, {"access": "signed"}))["access"] == "signed"
    assert _fetch(file["url"]).status_code == 404
    assert read_object(api.patch(path, {"ref": "x", "access": None}))["access"] == "signed"
    told = read_list(api.get(f"/events?subject_id={file['id']}&type=file.updated"))[0]
    assert isinstance(told[-1]["data"], dict)
    assert told[-1]["data"]["access"] == "signed"
    # Called otherwise it is still its owner's alone, and the old signature leads nowhere.
    before = _sign(api, folder=folder, filename="a.jpg")
    renamed = read_object(api.patch(path, {"filename": "b.jpg"}))
    assert (renamed["access"], _fetch(renamed["url"]).status_code) == ("signed", 404)
    assert _fetch(before["url"]).status_code == 404
    assert _fetch(_sign(api, folder=folder, filename="b.jpg")["url"]).status_code == 200
    assert read_object(api.patch(path, {"access": "public"}))["access"] == "public"
    assert _fetch(renamed["url"]).status_code == 200


def test_tasks_and_batches_take_it_too(api: Api, picture_url: str, folder: str) -> None:
    task = wait_for_end(api, create_task(api, picture_url, access="signed"))
    assert (_output(task)["access"], task["options"]) == (
        "signed",
        {**_as_dict(task["options"]), "access": "signed"},
    )
    items: list[JsonDict] = [{"url": picture_url}, {"url": picture_url, "access": "public"}]
    sent = [
        send_items(api, items, defaults={"access": "signed"}),
        send_list(api, f"url,access\n{picture_url},signed\n{picture_url},\n", "text/csv"),
        send_list(api, f"{picture_url}\n", "text/plain", "?access=signed"),
    ]
    wanted = [["public", "signed"], ["public", "signed"], ["signed"]]
    for batch, accesses in zip(sent, wanted, strict=True):
        wait_until_over(api, batch)
        tasks = read_list(api.get(f"/batches/{batch['id']}/tasks"))[0]
        assert sorted(str(_output(one)["access"]) for one in tasks) == accesses


def _as_dict(value: object) -> JsonDict:
    assert isinstance(value, dict)
    return value


def _output(task: JsonDict) -> JsonDict:
    return _as_dict(task["output"])


def test_the_store_answers_ranges_and_validators_behind_a_signed_url(
    api: Api, picture: bytes, picture_url: str, folder: str
) -> None:
    _ingest(api, picture_url, folder=folder, filename="a.jpg", access="signed")
    url = _sign(api, folder=folder, filename="a.jpg")["url"]
    whole = _fetch(url)
    assert whole.headers["ETag"].startswith('"')
    part = _fetch(url, Range="bytes=5-9")
    assert (part.status_code, part.content) == (206, picture[5:10])
    assert part.headers["ETag"] == whole.headers["ETag"]
    unchanged = _fetch(url, **{"If-None-Match": whole.headers["ETag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    since = _fetch(url, **{"If-Modified-Since": whole.headers["Last-Modified"]})
    assert since.status_code == 304
    gone_on = _fetch(url, **{"Range": "bytes=5-", "If-Range": whole.headers["ETag"]})
    assert (gone_on.status_code, gone_on.content) == (206, picture[5:])


@pytest.mark.parametrize(
    ("query", "disposition"),
    [
        ("", "inline; filename=\"a.jpg\"; filename*=UTF-8''a.jpg"),
        ("download", "attachment; filename=\"a.jpg\"; filename*=UTF-8''a.jpg"),
        ("download=", "attachment; filename=\"a.jpg\"; filename*=UTF-8''a.jpg"),
        (
            "download=my%20%F0%9F%8F%96.jpg",
            "attachment; filename=\"my _.jpg\"; filename*=UTF-8''my%20%F0%9F%8F%96.jpg",
        ),
        (
            "download=..%2F..%2Fetc%2Fpasswd",
            "attachment; filename=\"passwd\"; filename*=UTF-8''passwd",
        ),
        ("download=a%0d%0aX%3a%20b", "attachment; filename=\"aX b\"; filename*=UTF-8''aX%20b"),
        ("download=%00..", "attachment; filename=\"a.jpg\"; filename*=UTF-8''a.jpg"),
    ],
)
def test_a_browser_is_told_to_save_a_file_and_as_what(
    query: str, disposition: str, api: Api, picture: bytes, picture_url: str, folder: str
) -> None:
    file = _ingest(api, picture_url, folder=folder, filename="a.jpg")
    signed = _sign(api, folder=folder, filename="a.jpg")
    for url in (f"{file['url']}?{query}", f"{signed['url']}&{query}"):
        answer = _fetch(url)
        assert (answer.status_code, answer.content) == (200, picture)
        assert answer.headers["Content-Disposition"] == disposition


@pytest.mark.parametrize(
    ("asked", "param", "said"),
    [
        ({}, "filename", "missing"),
        ({"filename": None}, "filename", "null"),
        ({"filename": ""}, "filename", "empty"),
        ({"filename": "a/b.mp4"}, "filename", "'folder'"),
        ({"filename": ".."}, "filename", "'..'"),
        ({"filename": "a\x00"}, "filename", "U+0000"),
        ({"filename": "x" * 256}, "filename", "255"),
        ({"filename": ["a"]}, "filename", "an array"),
        ({"filename": "a", "folder": ""}, "folder", "empty"),
        ({"filename": "a", "folder": "/a"}, "folder", "'/'"),
        ({"filename": "a", "folder": "a/../b"}, "folder", "'..'"),
        ({"filename": "x" * 255, "folder": "/".join(["y" * 255] * 3 + ["z"])}, "filename", "1024"),
        ({"filename": f"{Prefix.FILE}_{ULID}", "folder": "a"}, "folder", "id"),
        ({"filename": "a", "expiry": 0}, "expiry", "0"),
        ({"filename": "a", "expiry": 1_700_000_000}, "expiry", "over"),
        ({"filename": "a", "expiry": 10**13}, "expiry", "604800"),
        ({"filename": "a", "expiry": 10**400}, "expiry", "604800"),
        ({"filename": "a", "expiry": "1800000000"}, "expiry", "'1800000000'"),
        ({"filename": "a", "expiry": 1.5}, "expiry", "1.5"),
        ({"filename": "a", "expiry": True}, "expiry", "true"),
        ({"filename": "a", "method": "delete"}, "method", "'get'"),
        ({"filename": "a", "method": "Get"}, "method", "'get'"),
        ({"filename": "a", "method": 5}, "method", "5"),
        ({"filename": "a", "project_id": "prj_1"}, "project_id", "no field"),
    ],
    ids=ascii,
)
def test_what_cannot_be_signed_is_refused_by_name(
    asked: JsonDict, param: str, said: str, api: Api
) -> None:
    error = read_error(api.post("/signatures", asked), 422, "field_invalid")
    assert error["param"] == param
    assert said in str(error["message"])


@pytest.mark.parametrize("path", ["/files", "/tasks"])
@pytest.mark.parametrize("value", ["private", "Signed", "", 5, True, ["signed"]])
def test_another_access_is_refused_by_name(path: str, value: object, api: Api) -> None:
    order: JsonDict = {"url": "http://nowhere.invalid/a", "access": value}
    if path == "/tasks":
        order["kind"] = "ingest"
    assert read_error(api.post(path, order), 422, "field_invalid")["param"] == "access"
