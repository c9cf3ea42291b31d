"""The published shapes, to the field; and the requests of the published page on ingest."""

from __future__ import annotations

import hashlib
import re
from typing import cast

import pytest
import requests

from cli.client import ApiClient
from cli.local import LocalStack
from ingest.ids import Prefix, is_id
from storage.records.database import Database
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.origin import Origin, Stall
from tests.support.projects import make_project
from tests.support.waiting import wait_until

FILE_FIELDS = [
    "id", "object", "media_id", "kind", "type", "codec", "container", "width", "height",
    "orientation", "rotation", "transparency", "animated", "frames", "duration", "fps", "filesize",
    "bitrate", "language", "label", "ref", "folder", "filename", "url", "access",
    "placeholder", "background", "poster", "metadata", "original", "checksum", "source", "streams",
    "codecs", "frame_rate", "mirrored", "color", "hdr", "audio", "chapters", "tags", "created",
    "updated", "status",
]  # fmt: skip
TASK_FIELDS = [
    "id", "object", "kind", "status", "progress", "transfer", "input", "options", "output",
    "duplicate_of", "error", "attempts", "batch_id", "ref", "metadata", "created", "started",
    "finished", "updated", "next_attempt_at",
]  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


UNKNOWN = "med_01k9x3v5w8r2m4n6p7q8s9t0v1"


def _wait(api: Api, task_id: object) -> JsonDict:
    def look() -> JsonDict | None:
        task = read_object(api.get(f"/tasks/{task_id}"))
        return task if task["status"] in {"complete", "failed"} else None

    return wait_until(look, f"the end of {task_id}", 20)


def test_a_file_has_every_field_that_is_documented(api: Api, origin: Origin, video: bytes) -> None:
    url = origin.serve("/shapes/a.mp4", video)
    answer = api.post(
        "/files",
        {"url": url, "folder": "shapes", "filename": "a.mp4", "ref": "r", "metadata": {"a": [1]}},
    )
    file = read_object(answer, 201)

    assert list(file) == FILE_FIELDS
    assert answer.headers["Location"] == f"{api.url}/files/{file['id']}"
    assert answer.json()["links"]["self"] == answer.headers["Location"]
    assert is_id(Prefix.FILE, str(file["id"]))
    assert is_id(Prefix.MEDIA, str(file["media_id"]))
    assert (file["object"], file["kind"], file["type"]) == ("file", "video", "video/mp4")
    assert (file["status"], file["original"]) == ("complete", True)
    assert file["filesize"] == len(video)
    assert file["checksum"] == f"sha256:{hashlib.sha256(video).hexdigest()}"
    assert (file["folder"], file["filename"]) == ("shapes", "a.mp4")
    assert (file["ref"], file["metadata"]) == ("r", {"a": [1]})
    assert file["url"] == f"{api.url}/delivery/shapes/a.mp4"
    assert file["source"] == url
    # Nothing of an ingest, or of a video that says nothing of it.
    for field in ("label", "language", "animated", "hdr"):
        assert file[field] is None
    for field in ("created", "updated"):
        assert TIME.fullmatch(str(file[field]))
    assert read_object(api.get(f"/files/{file['id']}")) == file


def test_a_file_that_nobody_named_is_found_under_its_id(api: Api, picture_url: str) -> None:
    file = read_object(api.post("/files", {"url": picture_url}), 201)
    assert file["folder"] is file["filename"] is file["ref"] is file["metadata"] is None
    assert file["url"] == f"{api.url}/delivery/{file['id']}"


def test_a_task_is_pending_at_first_and_has_every_field(api: Api, origin: Origin) -> None:
    stall = Stall()
    url = origin.serve("/shapes/waits.jpg", b"x", stall=stall)
    order = {
        "url": url,
        "folder": "shapes",
        "filename": "waits.jpg",
        "ref": "t",
        "metadata": {"b": None},
        "checksum": f"md5:{'A' * 32}",
        "max_bytes": 10,
        "priority": -1,
        "max_attempts": 2,
    }
    answer = api.post("/tasks", {"kind": "ingest", **order})
    task = read_object(answer, 201)

    assert list(task) == TASK_FIELDS
    assert is_id(Prefix.TASK, str(task["id"]))
    assert answer.headers["Location"] == f"{api.url}/tasks/{task['id']}"
    assert (task["object"], task["kind"], task["status"]) == ("task", "ingest", "pending")
    assert (task["progress"], task["attempts"]) == (0, [])
    assert task["input"] == {"url": url, "folder": "shapes", "filename": "waits.jpg"}
    assert task["options"] == {
        "checksum": f"md5:{'a' * 32}",
        "max_bytes": 10,
        "priority": -1,
        "max_attempts": 2,
        "webhook_url": None,
        "overwrites": False,
        "dedupe": "none",
        "access": "public",
        "poster": False,
    }
    assert (task["ref"], task["metadata"]) == ("t", {"b": None})
    for field in ("transfer", "output", "error", "batch_id", "started", "finished"):
        assert task[field] is None
    assert TIME.fullmatch(str(task["created"]))
    assert task["updated"] == task["created"]
    stall.released.set()
    _wait(api, task["id"])


def test_a_running_task_tells_its_attempt_and_how_far_it_is(
    api: Api, origin: Origin, video: bytes
) -> None:
    stall = Stall(at_bytes=len(video) // 2)
    url = origin.serve("/shapes/half.mp4", video, stall=stall)
    asked = read_object(api.post("/tasks", {"kind": "ingest", "url": url}), 201)
    assert stall.reached.wait(10)

    def look() -> JsonDict | None:
        task = read_object(api.get(f"/tasks/{asked['id']}"))
        transfer = cast("JsonDict | None", task["transfer"])
        return task if transfer is not None and transfer["bytes"] else None

    task = wait_until(look, "progress")
    stall.released.set()

    assert task["status"] == "processing"
    assert task["progress"] == 49
    transfer = cast("JsonDict", task["transfer"])
    assert list(transfer) == ["bytes", "total", "rate_bps", "eta_s"]
    assert (transfer["bytes"], transfer["total"]) == (len(video) // 2, len(video))
    (attempt,) = cast("list[JsonDict]", task["attempts"])
    assert list(attempt) == ["number", "worker", "started", "finished", "bytes", "error"]
    assert (attempt["number"], attempt["finished"], attempt["error"]) == (1, None, None)
    assert _wait(api, asked["id"])["status"] == "complete"


def test_a_complete_task_holds_the_file_itself(api: Api, picture: bytes, picture_url: str) -> None:
    asked = read_object(api.post("/tasks", {"kind": "ingest", "url": picture_url}), 201)
    task = _wait(api, asked["id"])

    assert list(task) == TASK_FIELDS
    assert (task["status"], task["progress"]) == ("complete", 100)
    assert task["error"] is task["transfer"] is task["next_attempt_at"] is None
    output = cast("JsonDict", task["output"])
    assert output == read_object(api.get(f"/files/{output['id']}"))
    assert str(task["created"]) <= str(task["started"]) <= str(task["finished"])
    assert TIME.fullmatch(str(task["finished"]))
    (attempt,) = cast("list[JsonDict]", task["attempts"])
    assert (attempt["number"], attempt["error"]) == (1, None)
    assert attempt["bytes"] == len(picture)
    assert TIME.fullmatch(str(attempt["finished"]))


def test_a_failed_task_tells_why_and_has_no_output(api: Api, origin: Origin) -> None:
    url = origin.url("/shapes/nothing-here.mp4")
    asked = read_object(api.post("/tasks", {"kind": "ingest", "url": url}), 201)
    task = _wait(api, asked["id"])

    wanted = {
        "code": "source_not_found",
        "message": "The source answered 404.",
        "retryable": False,
    }
    assert (task["status"], task["output"], task["progress"]) == ("failed", None, 0)
    assert task["error"] == wanted
    (attempt,) = cast("list[JsonDict]", task["attempts"])
    assert attempt["error"] == wanted


def test_the_request_for_a_file_on_the_published_page_works(
    api: Api, origin: Origin, video: bytes
) -> None:
    url = origin.serve("/video.mp4", video)

    answer = api.post("/files", {"url": url})

    file = read_object(answer, 201)
    assert (file["kind"], file["type"], file["width"], file["height"]) == (
        "video",
        "video/mp4",
        160,
        120,
    )
    assert (file["duration"], file["filesize"]) == (1.0, len(video))
    assert requests.get(str(file["url"]), timeout=10).content == video


def test_the_request_for_a_task_on_the_published_page_works_and_can_be_polled(
    api: Api, origin: Origin, video: bytes
) -> None:
    url = origin.serve("/video.mp4", video)

    task = read_object(api.post("/tasks", {"kind": "ingest", "url": url}), 201)

    assert (task["kind"], task["status"]) == ("ingest", "pending")
    output = cast("JsonDict", _wait(api, task["id"])["output"])
    assert (output["kind"], output["duration"], output["status"]) == ("video", 1.0, "complete")


def test_the_additional_props_on_the_published_page_work(
    api: Api, origin: Origin, video: bytes
) -> None:
    url = origin.serve("/video.mp4", video)
    props = {"url": url, "folder": "user_1234/uploads", "filename": "custom-filename.mp4"}

    file = read_object(api.post("/files", props), 201)

    assert file["url"] == f"{api.url}/delivery/user_1234/uploads/custom-filename.mp4"
    assert requests.get(str(file["url"]), timeout=10).content == video


@pytest.mark.parametrize(
    "query",
    [
        "signature=s0Mes3cR3tS1gN4tUr3",
        "X-Amz-Signature=ab%2Fcd%2fef&X-Amz-Date=20260101T000000Z&x=a+b%20c",
        "sig=%C3%A4&se=2026-01-01T00%3A00%3A00Z&empty=&bare&bare=1&==&a=b=c",
        "",
        "q=(a)*[b]!'~;,|$@:/?",
    ],
)
def test_a_signed_url_reaches_the_source_byte_for_byte(
    query: str, api: Api, origin: Origin, picture: bytes
) -> None:
    target = "/signed/a%2Fb%20c+d/~x/%7E.jpg?" + query
    url = origin.serve(target, picture)

    file = read_object(api.post("/files", {"url": url}), 201)

    asked = [request for request in origin.requests if request.target == target]
    assert [request.method for request in asked] == ["GET"]
    assert asked[0].headers["range"] == "bytes=0-"
    assert asked[0].headers["accept-encoding"] == "identity"
    assert asked[0].headers["host"] == f"127.0.0.1:{origin.port}"
    # What signs the URL is kept out of what is shown of the file.
    assert file["source"] == url.partition("?")[0]


def test_a_url_in_other_scripts_arrives_percent_encoded(
    api: Api, origin: Origin, picture: bytes
) -> None:
    target = "/%E6%98%A0%E7%94%BB/%F0%9F%8E%AC.jpg?%C3%BC=%C3%A4"
    origin.serve(target, picture)

    read_object(api.post("/files", {"url": origin.url("/映画/🎬.jpg?ü=ä#t=3")}), 201)

    assert [request.target for request in origin.requests].count(target) == 1


def test_each_answer_carries_its_request_id_and_no_two_share_one(
    api: Api, picture_url: str
) -> None:
    answers = [
        api.post("/files", {"url": picture_url}),
        api.get("/files"),
        api.get("/nowhere"),
        api.get("/healthz"),
        api.get("/delivery/nothing"),
        api.post("/files", {}),
    ]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert all(is_id(Prefix.REQUEST, one) for one in ids)
    assert len(set(ids)) == len(ids)


def test_no_answer_runs_anything_in_a_browser_is_framed_kept_or_told_on(
    api: Api, stack: LocalStack, picture_url: str
) -> None:
    file = read_object(api.post("/files", {"url": picture_url}), 201)
    paths = ["/files", "/files/none", "/nowhere", "/openapi.json", "/healthz", "/metrics"]
    answers = [api.get(path) for path in (*paths, f"/delivery/{file['id']}")]
    with Api(stack.api_url, None) as stranger:
        answers.append(stranger.get("/files"))
    for answer in answers:
        assert answer.headers["Content-Security-Policy"] == (
            "default-src 'none'; frame-ancestors 'none'"
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    # A link to the object may be kept for as long as it is good.
    kept = [answer.headers["Cache-Control"] for answer in answers]
    assert set(kept) == {"no-store", kept[-2]}
    assert kept[-2].startswith("private, max-age=")


def test_a_request_id_of_the_client_is_not_taken_over(api: Api) -> None:
    answer = api.get("/files", {"X-Request-Id": 'mine"}'})
    assert is_id(Prefix.REQUEST, answer.headers["X-Request-Id"])


@pytest.mark.parametrize("version", ["2025-08-20", "2025-11-01", "2026-01-01"])
def test_from_2025_08_20_on_a_success_is_the_bare_data(
    version: str, api: Api, picture_url: str
) -> None:
    asking = {"Accept-Version": version}
    made = api.post("/files", {"url": picture_url}, asking)
    file = made.json()

    assert made.status_code == 201
    assert list(file) == FILE_FIELDS
    assert made.headers["Content-Version"] == "2025-08-20"
    assert made.headers["Location"] == f"{api.url}/files/{file['id']}"
    assert api.get(f"/files/{file['id']}", asking).json() == file
    listed = api.get("/files?limit=1", asking)
    assert listed.json() == [file]
    total = int(listed.headers["X-Total"])
    assert total == api.get("/files?limit=1").json()["meta"]["total"]
    assert requests.utils.parse_header_links(listed.headers["Link"]) == [
        {"url": f"{api.url}/files?limit=1&page={page}", "rel": rel}
        for rel, page in (("self", 1), ("first", 1), ("next", 2), ("last", total))
    ]


@pytest.mark.parametrize("version", ["2025-01-01", "2025-08-19", "latest", "20250820", "9"])
def test_before_that_and_for_what_is_no_date_the_envelope_stays(version: str, api: Api) -> None:
    answer = api.get("/files?limit=1", {"Accept-Version": version})
    assert list(answer.json()) == ["meta", "data", "links"]
    assert answer.headers["Content-Version"] == "2025-01-01"
    assert "X-Total" not in answer.headers
    assert answer.headers["Vary"] == "Accept-Version"


def test_an_error_keeps_its_one_shape_in_every_version(api: Api) -> None:
    answer = api.get("/files/file_nothing", {"Accept-Version": "2025-08-20"})
    read_error(answer, 404, "not_found")
    assert answer.headers["Content-Version"] == "2025-08-20"


def test_a_deleted_file_is_gone_from_everywhere(
    api: Api, client: ApiClient, picture_url: str
) -> None:
    task = read_object(api.post("/tasks", {"kind": "ingest", "url": picture_url}), 201)
    file = cast("JsonDict", _wait(api, task["id"])["output"])

    answer = api.delete(f"/files/{file['id']}")

    told = {"id": file["id"], "object": "file", "deleted": True}
    assert read_object(answer) == {**told, "message": f"{file['id']} is deleted."}
    read_error(api.get(f"/files/{file['id']}"), 404, "not_found")
    read_error(api.delete(f"/files/{file['id']}"), 404, "not_found")
    read_error(api.get(f"/delivery/{file['id']}"), 404, "not_found")
    after = read_object(api.get(f"/tasks/{task['id']}"))
    assert (after["status"], after["output"]) == ("complete", None)


def test_a_name_is_taken_until_its_file_is_deleted(api: Api, picture_url: str) -> None:
    order = {"url": picture_url, "folder": "taken", "filename": "one.jpg"}
    file = read_object(api.post("/files", order), 201)

    for path, body in (("/files", order), ("/tasks", {"kind": "ingest", **order})):
        error = read_error(api.post(path, body), 409, "file_exists")
        assert error["param"] == "filename"
        assert "taken/one.jpg" in str(error["message"])
    api.delete(f"/files/{file['id']}")

    read_object(api.post("/files", order), 201)


def test_a_file_is_changed_where_it_is_asked_for(api: Api, picture_url: str) -> None:
    order: JsonDict = {"url": picture_url, "ref": "before", "metadata": {"a": 1}}
    file = read_object(api.post("/files", order), 201)
    path = f"/files/{file['id']}"
    changed = read_object(api.patch(path, {"ref": "after"}))
    assert (changed["ref"], changed["metadata"]) == ("after", {"a": 1})
    assert str(changed["updated"]) > str(file["updated"])
    cleared = read_object(api.patch(path, {"ref": None, "metadata": None}))
    assert (cleared["ref"], cleared["metadata"]) == (None, None)
    assert read_object(api.get(path)) == cleared
    assert read_object(api.patch(path, {}))["ref"] is None
    bad: list[JsonDict] = [{"ref": ""}, {"ref": 1}, {"metadata": []}, {"filename": "x/y"}]
    for body in bad:
        (field,) = body
        assert read_error(api.patch(path, body), 422, "field_invalid")["param"] == field
    read_error(api.patch("/files/none", {"ref": "x"}), 404, "not_found")


def test_files_of_one_media_are_shown_together(api: Api, picture_url: str) -> None:
    first = read_object(api.post("/files", {"url": picture_url}), 201)
    more: JsonDict = {"url": picture_url, "media_id": first["media_id"], "ref": "small"}
    second = read_object(api.post("/files", more), 201)
    batch = read_object(api.post("/batches", {"items": [{**more, "ref": "listed"}]}), 201)
    (task,), _, _ = read_list(api.get(f"/tasks?batch_id={batch['id']}"))
    listed = _wait(api, task["id"])
    third = cast("JsonDict", listed["output"])
    media = read_object(api.get(f"/media/{first['media_id']}"))
    assert (media["id"], media["object"]) == (first["media_id"], "media")
    assert media["files"] == [first, second, third]
    assert media["urls"] == {
        "original": first["url"], "small": second["url"], "listed": third["url"]
    }  # fmt: skip
    assert (media["kind"], media["width"], media["created"]) == (
        first["kind"], first["width"], first["created"]
    )  # fmt: skip


@pytest.mark.parametrize("media_id", ["", "med_1", "file_01k9x3v5w8r2m4n6p7q8s9t0v1", UNKNOWN, 7])
def test_a_media_that_is_none_takes_no_file(media_id: object, api: Api, picture_url: str) -> None:
    order = {"url": picture_url, "media_id": media_id}
    assert read_error(api.post("/files", order), 422, "field_invalid")["param"] == "media_id"
    answer = api.post("/batches", {"items": [order], "on_error": "abort"})
    assert read_error(answer, 422, "field_invalid")["param"] == "media_id"
    assert read_object(api.post("/files", {"url": picture_url, "media_id": None}), 201)["media_id"]


def test_media_are_listed_by_themselves(
    database: Database, stack: LocalStack, picture_url: str
) -> None:
    _, secret = make_project(database)
    api = Api(stack.api_url, secret)
    ids = []
    for _ in range(3):
        file = read_object(api.post("/files", {"url": picture_url}), 201)
        read_object(api.post("/files", {"url": picture_url, "media_id": file["media_id"]}), 201)
        ids.append(str(file["media_id"]))
    newest_first = sorted(ids, reverse=True)
    listed, meta, links = read_list(api.get("/media"))
    assert [one["id"] for one in listed] == newest_first
    assert meta["total"] == 3
    assert [len(cast("list[JsonDict]", one["files"])) for one in listed] == [2, 2, 2]
    assert listed[0] == read_object(api.get(f"/media/{newest_first[0]}"))
    (second,), _, links = read_list(api.get(f"/media?limit=1&after={newest_first[0]}"))
    assert second["id"] == newest_first[1]
    (third,), _, links = read_list(api.get(str(links["next"])))
    assert (third["id"], links["next"]) == (newest_first[2], None)
    assert [one["id"] for one in read_list(api.get("/media?sort=created"))[0]] == newest_first[::-1]


def test_a_media_is_deleted_with_all_of_its_files(api: Api, picture_url: str) -> None:
    first = read_object(api.post("/files", {"url": picture_url}), 201)
    more = {"url": picture_url, "media_id": first["media_id"]}
    second = read_object(api.post("/files", more), 201)
    path = f"/media/{first['media_id']}"
    gone = read_object(api.delete(path))
    assert (gone["id"], gone["object"], gone["deleted"]) == (first["media_id"], "media", True)
    for file in (first, second):
        read_error(api.get(f"/files/{file['id']}"), 404, "not_found")
    for one in (path, "/media/none"):
        read_error(api.get(one), 404, "not_found")
        read_error(api.delete(one), 404, "not_found")


def test_a_media_without_files_is_not_there(api: Api, picture_url: str) -> None:
    file = read_object(api.post("/files", {"url": picture_url}), 201)
    read_object(api.delete(f"/files/{file['id']}"))
    for media_id in (file["media_id"], UNKNOWN, "none"):
        read_error(api.get(f"/media/{media_id}"), 404, "not_found")


def _ask_for(api: Api, path: str, order: JsonDict) -> tuple[int, JsonDict]:
    """Order something; return the status and the file's name and id, once it is there."""
    answer = api.post(path, {"kind": "ingest", **order} if path == "/tasks" else order)
    data = read_object(answer, answer.status_code)
    file = data if path == "/files" else cast("JsonDict", _wait(api, data["id"])["output"])
    return answer.status_code, file


@pytest.mark.parametrize("path", ["/files", "/tasks"])
def test_a_name_that_is_taken_gets_a_number_or_is_answered_with_what_has_it(
    path: str, api: Api, picture_url: str
) -> None:
    order: JsonDict = {"url": picture_url, "folder": f"exists{path}", "filename": "a.b.jpg"}
    status, first = _ask_for(api, path, order)
    assert (status, first["filename"]) == (201, "a.b.jpg")
    for number in (1, 2):
        status, renamed = _ask_for(api, path, {**order, "if_exists": "rename"})
        assert (status, renamed["filename"]) == (201, f"a.b-{number}.jpg")
    status, skipped = _ask_for(api, path, {**order, "if_exists": "skip"})
    assert (status, skipped["id"]) == (200, first["id"])
    read_object(api.delete(f"/files/{first['id']}"))
    status, again = _ask_for(api, path, {**order, "if_exists": "skip"})
    assert (status, again["filename"], again["id"] == first["id"]) == (201, "a.b.jpg", False)
    for refused in ("error", None):
        answer = api.post("/files", {**order, "if_exists": refused})
        read_error(answer, 409, "file_exists")
    read_error(api.post("/files", {**order, "if_exists": "overwrit"}), 422, "field_invalid")


def test_what_has_no_name_is_made_whatever_exists(api: Api, picture_url: str) -> None:
    for if_exists in ("rename", "skip", "error"):
        order: JsonDict = {"url": picture_url, "if_exists": if_exists}
        assert _ask_for(api, "/files", order)[0] == 201
