"""Files that are sent to signed URLs: like any other once they are whole, and nothing before."""

from __future__ import annotations

import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from cli.local import LocalStack
from ingest.ids import Prefix, make_id
from ingest.model import Limits
from ingest.urls import UPLOADS_PREFIX
from storage.objects.s3 import S3ObjectStore
from storage.records import projects
from storage.records.database import Database
from tests.support.api import ULID, Api, JsonDict, read_error, read_list, read_object
from tests.support.origin import Origin, Stall
from tests.support.projects import make_project
from tests.support.waiting import wait_until

MIB = 1024 * 1024
LONG_BYTES = 20 * MIB + 7


@pytest.fixture
def folder() -> str:
    """A folder that no other test uses."""
    return f"uploads/{secrets.token_hex(6)}"


@pytest.fixture
def project(open_project: Callable[[], Api], store: S3ObjectStore) -> Iterator[Api]:
    """A project of its own, after which nothing that was sent is left."""
    yield (found := open_project())
    made = {str(task["input"]) for task in read_list(found.get("/tasks?limit=100"))[0]}
    left = [key for key in _list_sent(store) if any(_name_file(key) in one for one in made)]
    assert left == []


@pytest.fixture(scope="module")
def long_video(video: bytes) -> bytes:
    """A video of three parts."""
    return video + bytes(LONG_BYTES - len(video))


def _list_sent(store: S3ObjectStore) -> list[str]:
    return list(store.list_keys(UPLOADS_PREFIX))


def _name_file(key: str) -> str:
    return key.removeprefix(UPLOADS_PREFIX)


def _sign(api: Api, folder: str | None, filename: str, **more: object) -> str:
    asked = {"folder": folder, "filename": filename, "method": "put", **more}
    return str(read_object(api.post("/signatures", asked))["url"])


def _put(
    url: str, body: bytes | Iterator[bytes], headers: dict[str, str] | None = None
) -> requests.Response:
    # No key, and whatever type a client takes it for.
    return requests.put(url, data=body, headers=headers, timeout=40)


def _pieces(body: bytes, piece_bytes: int = 100_000) -> Iterator[bytes]:
    return (body[at : at + piece_bytes] for at in range(0, len(body), piece_bytes))


def _hash(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _change_query(url: str, **changed: str) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changed
    return parts._replace(query=urlencode(query)).geturl()


def _count_tasks(api: Api) -> object:
    return read_list(api.get("/tasks"))[1]["total"]


def test_what_is_sent_is_a_file_like_any_other(
    project: Api, store: S3ObjectStore, picture: bytes, folder: str
) -> None:
    asked = {"folder": folder, "filename": "\u6620 a.jpg", "method": "PUT"}
    signed = read_object(project.post("/signatures", asked))
    assert list(signed) == ["domain", "filename", "folder", "expiry", "method", "signature", "url"]
    assert (signed["method"], signed["folder"]) == ("put", folder)

    answer = _put(str(signed["url"]), picture)

    file = read_object(answer, 201)
    assert answer.headers["Location"] == f"{project.url}/files/{file['id']}"
    assert (file["folder"], file["filename"]) == (folder, "\u6620 a.jpg")
    assert (file["type"], file["checksum"]) == ("image/jpeg", _hash(picture))
    assert (file["filesize"], file["source"]) == (len(picture), f"upload:{file['id']}")
    assert read_object(project.get(f"/files/{file['id']}")) == file
    assert requests.get(str(file["url"]), timeout=10).content == picture
    (task,) = read_list(project.get("/tasks"))[0]
    assert (task["status"], task["output"]) == ("complete", file)
    told = [one["type"] for one in read_list(project.get("/events?sort=created"))[0]]
    assert sorted(map(str, told)) == [
        "file.created", "task.completed", "task.created", "task.started",
    ]  # fmt: skip
    wait_until(lambda: f"{UPLOADS_PREFIX}{file['id']}" not in _list_sent(store), "nothing staged")


@pytest.mark.parametrize("has_length", [True, False])
def test_a_long_file_is_sent_in_parts_and_copied(
    has_length: bool,  # noqa: FBT001
    project: Api,
    store: S3ObjectStore,
    long_video: bytes,
    folder: str,
) -> None:
    body = long_video if has_length else _pieces(long_video)

    file = read_object(_put(_sign(project, folder, "a.mp4"), body), 201)

    assert (file["filesize"], file["checksum"]) == (LONG_BYTES, _hash(long_video))
    assert (file["kind"], file["container"]) == ("video", "mp4")
    assert requests.get(str(file["url"]), timeout=10).content == long_video
    wait_until(lambda: f"{UPLOADS_PREFIX}{file['id']}" not in _list_sent(store), "nothing staged")
    sent = [one for one in store.list_uploads() if str(file["id"]) in one.upload.key]
    assert sent == []


@pytest.mark.parametrize("size_bytes", [8 * MIB, 8 * MIB + 1, 16 * MIB])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_file_that_ends_with_a_part_is_whole(
    size_bytes: int,
    has_length: bool,  # noqa: FBT001
    project: Api,
    video: bytes,
    folder: str,
) -> None:
    body = video + bytes(size_bytes - len(video))
    answer = _put(_sign(project, folder, "a.mp4"), body if has_length else _pieces(body))
    file = read_object(answer, 201)
    assert (file["filesize"], file["checksum"]) == (size_bytes, _hash(body))


def test_a_file_is_kept_to_signed_urls_where_that_was_signed(
    project: Api, picture: bytes, folder: str
) -> None:
    url = _sign(project, folder, "a.jpg", access="signed")
    file = read_object(_put(url, picture), 201)
    assert file["access"] == "signed"
    assert requests.get(str(file["url"]), timeout=10).status_code == 404
    asked = {"folder": folder, "filename": "a.jpg"}
    read = str(read_object(project.post("/signatures", asked))["url"])
    assert requests.get(read, timeout=10).content == picture
    # To read is not to send, and the other way round.
    query = urlsplit(read).query
    read_error(_put(url.partition("?")[0] + f"?{query}", picture), 404, "not_found")
    query = urlsplit(url).query
    read_error(project.get(read.partition("?")[0] + f"?{query}"), 404, "not_found")


def test_a_url_that_was_changed_or_has_ended_takes_nothing(
    project: Api, open_project: Callable[[], Api], picture: bytes, folder: str
) -> None:
    expiry = int(time.time()) + 600
    url = _sign(project, folder, "a.jpg", expiry=expiry)
    parts = urlsplit(url)
    place, path = parts.path.split("/")[2], parts.path
    signature = parse_qs(parts.query)["signature"][0]
    stranger = str(read_object(open_project().get("/project"))["id"])
    over = int(time.time()) + 1
    ended = _sign(project, folder, "b.jpg", expiry=over)
    wait_until(lambda: time.time() >= over, "the end of a signature")
    bad = [
        ended,
        url.replace("a.jpg", "b.jpg"),
        url.replace(folder, f"{folder}/x"),
        url.replace(f"{folder}/", ""),
        url.replace(place, stranger),
        url.replace(place, make_id(Prefix.PROJECT)),
        url.replace(place, "x"),
        url.replace(place, "%00"),
        parts._replace(path=f"{path}%00").geturl(),
        _change_query(url, expiry=str(expiry + 1)),
        _change_query(url, expiry="x"),
        _change_query(url, if_exists="overwrite"),
        _change_query(url, if_exists="x"),
        _change_query(url, access="signed"),
        _change_query(url, signature=signature[::-1]),
        _change_query(url, signature=""),
        parts._replace(query="").geturl(),
    ]
    answers = [read_error(_put(one, picture), 404, "not_found") for one in bad]
    assert all(one == answers[0] for one in answers)
    assert _count_tasks(project) == 0
    read_object(_put(url, picture), 201)


def test_nobody_signs_for_the_place_of_another(
    project: Api, api: Api, picture: bytes, folder: str
) -> None:
    file = read_object(_put(_sign(project, folder, "a.jpg"), picture), 201)
    prefix = urlsplit(str(file["url"])).path.split("/")[2]
    # The first project's prefix is empty.
    asked = {"folder": f"{prefix}/{folder}", "filename": "b.jpg", "method": "put"}
    error = read_error(api.post("/signatures", asked), 422, "field_invalid")
    assert "another project" in str(error["message"])


@pytest.mark.parametrize("folder", [".headrace/uploads", ".headrace/uploads/x"])
def test_no_file_is_called_like_what_was_sent(folder: str, api: Api, picture_url: str) -> None:
    asked = {"folder": folder, "filename": "b.jpg", "method": "put"}
    read_error(api.post("/signatures", asked), 422, "field_invalid")
    order = {"url": picture_url, "folder": folder, "filename": "b.jpg"}
    read_error(api.post("/files", order), 422, "field_invalid")


@pytest.mark.parametrize("url", ["upload:x", f"upload:{Prefix.FILE}_{ULID}", "upload://x/y"])
def test_nobody_orders_what_another_has_sent(url: str, api: Api) -> None:
    assert read_error(api.post("/files", {"url": url}), 422, "field_invalid")["param"] == "url"
    batch = api.post("/batches", {"items": [{"url": url}]})
    assert read_error(batch, 422, "field_invalid")["param"] == "url"


def test_a_name_that_is_taken_is_so_before_anything_is_sent(
    project: Api, picture: bytes, folder: str
) -> None:
    url = _sign(project, folder, "a.jpg")
    file = read_object(_put(url, picture), 201)

    error = read_error(_put(url, picture), 409, "file_exists")

    assert error["param"] == "filename"
    skipped = _put(_sign(project, folder, "a.jpg", if_exists="skip"), b"not even media")
    assert read_object(skipped, 200) == file
    renamed = read_object(_put(_sign(project, folder, "a.jpg", if_exists="rename"), picture), 201)
    assert renamed["filename"] == "a-1.jpg"
    overwrites = _sign(project, folder, "a.jpg", if_exists="overwrite")
    for _ in range(2):
        other = picture + secrets.token_bytes(8)
        new = read_object(_put(overwrites, other), 201)
        assert (new["filename"], new["url"]) == ("a.jpg", file["url"])
        assert requests.get(str(new["url"]), timeout=10).content == other
    read_error(project.get(f"/files/{file['id']}"), 404, "not_found")


def test_what_came_too_late_to_be_kept_is_not_called_stored(
    project: Api, picture: bytes, folder: str
) -> None:
    url = _sign(project, folder, "a.jpg", if_exists="skip")
    begun, others = threading.Event(), threading.Event()

    def send_late() -> Iterator[bytes]:
        yield picture[:5000]
        begun.set()
        assert others.wait(40)
        yield picture[5000:] + b"late"

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(_put, url, send_late())
        assert begun.wait(20)
        file = read_object(_put(url, picture), 201)
        others.set()
        assert read_object(late.result(), 200) == file
    assert _count_tasks(project) == 1


def test_the_task_of_somebody_else_is_shown_without_its_secrets(
    project: Api, origin: Origin, picture: bytes, folder: str
) -> None:
    stall = Stall()
    source = origin.serve(f"/{folder}/waits.jpg", picture, stall=stall)
    url = _sign(project, folder, "a.jpg", if_exists="skip")
    hook = "https://receiver.example/hook?token=s3cret"
    order = {"kind": "ingest", "url": f"{source}?signature=s3cret", "webhook_url": hook}
    task = read_object(
        project.post("/tasks", {**order, "folder": folder, "filename": "a.jpg"}), 201
    )

    answer = _put(url, picture, {"Prefer": "respond-async"})
    stall.released.set()

    shown = read_object(answer, 202)
    assert (shown["id"], shown["input"]) == (
        task["id"],
        {"url": source, "folder": folder, "filename": "a.jpg"},
    )
    assert "s3cret" not in answer.text


def test_of_several_that_send_at_once_one_has_the_name(
    project: Api, store: S3ObjectStore, long_video: bytes, folder: str
) -> None:
    url = _sign(project, folder, "a.mp4")
    bodies = [long_video[:-1] + bytes([number]) for number in range(4)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: _put(url, body), bodies))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201, 409, 409, 409]
    won = next(number for number, answer in enumerate(answers) if answer.status_code == 201)
    file = read_object(answers[won], 201)
    assert file["checksum"] == _hash(bodies[won])
    assert requests.get(str(file["url"]), timeout=10).content == bodies[won]
    assert _count_tasks(project) == 1
    wait_until(lambda: f"{UPLOADS_PREFIX}{file['id']}" not in _list_sent(store), "nothing staged")


@pytest.mark.parametrize("sent_bytes", [0, 1, 5000, 9 * MIB])
@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_that_breaks_off_makes_nothing(
    sent_bytes: int,
    has_length: bool,  # noqa: FBT001
    project: Api,
    store: S3ObjectStore,
    long_video: bytes,
    folder: str,
) -> None:
    before = set(_list_sent(store))
    url = _sign(project, folder, "a.mp4")
    parts = urlsplit(url)
    length = f"Content-Length: {LONG_BYTES}" if has_length else "Transfer-Encoding: chunked"
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n{length}\r\n\r\n"
    body = long_video[:sent_bytes]
    if not has_length:
        body = f"{LONG_BYTES:x}\r\n".encode() + body
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"body_invalid"' in answer
    assert _count_tasks(project) == 0
    assert set(_list_sent(store)) <= before
    pending = [one.upload.key for one in store.list_uploads()]
    assert not any(key.startswith(UPLOADS_PREFIX) for key in pending)
    # The name is free.
    assert _put(url, long_video).status_code == 201


def test_a_body_that_is_no_media_is_refused_as_any_source_is(
    project: Api, store: S3ObjectStore, folder: str
) -> None:
    url = _sign(project, folder, "a.jpg")
    error = read_error(_put(url, b"<html>not a picture</html>"), 422, "source_not_media")
    assert error["param"] is None
    task = read_object(project.get(f"/tasks/{error['task_id']}"))
    assert task["status"] == "failed"
    file_id = _name_file(str(task["input"]["url"])).removeprefix("upload:")  # type: ignore[index]
    wait_until(lambda: f"{UPLOADS_PREFIX}{file_id}" not in _list_sent(store), "nothing staged", 90)


def test_an_empty_body_is_refused(project: Api, folder: str) -> None:
    bodies: tuple[bytes | Iterator[bytes], ...] = (b"", iter([]))
    for body in bodies:
        error = read_error(_put(_sign(project, folder, "a.jpg"), body), 400, "body_invalid")
        assert "empty" in str(error["message"])
    assert _count_tasks(project) == 0


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_sent(
    project: Api, folder: str
) -> None:
    request = requests.Request("PUT", _sign(project, folder, "a.mp4")).prepare()
    request.headers["Content-Length"] = str(65 * 1024**3)
    with requests.Session() as session:
        session.trust_env = False
        error = read_error(session.send(request, timeout=10), 413, "body_too_large")
    assert "68719476736" in str(error["message"])


def test_a_body_that_a_project_has_no_room_for_is_refused_while_it_comes(
    stack: LocalStack, database: Database, store: S3ObjectStore, long_video: bytes, folder: str
) -> None:
    made, secret = make_project(database)
    with database.transaction() as connection:
        projects.set_limits(connection, made.id, Limits(max_stored_bytes=9 * MIB))
    before = set(_list_sent(store))
    with Api(stack.api_url, secret) as api:
        url = _sign(api, folder, "a.mp4")
        for body in (long_video, _pieces(long_video)):
            try:
                answer = _put(url, body)
            except requests.ConnectionError:
                # It was hung up on in the middle of its body, and did not listen.
                continue
            read_error(answer, 403, "quota_exceeded")
        assert _count_tasks(api) == 0
    assert set(_list_sent(store)) <= before


def test_a_full_project_may_overwrite_with_what_fits(
    stack: LocalStack, database: Database, picture: bytes, folder: str
) -> None:
    made, secret = make_project(database)
    with Api(stack.api_url, secret) as api:
        url = _sign(api, folder, "a.jpg", if_exists="overwrite")
        read_object(_put(url, picture + bytes(10)), 201)
        with database.transaction() as connection:
            limits = Limits(max_stored_bytes=len(picture) + 10)
            projects.set_limits(connection, made.id, limits)
        read_error(_put(_sign(api, folder, "b.jpg"), picture), 403, "quota_exceeded")
        read_error(_put(url, picture + bytes(11)), 403, "quota_exceeded")
        file = read_object(_put(url, picture), 201)
        assert file["filesize"] == len(picture)


def test_who_does_not_wait_is_told_of_the_task(project: Api, picture: bytes, folder: str) -> None:
    url = _sign(project, folder, "a.jpg")
    answer = _put(url, picture, {"Prefer": "respond-async"})
    task = read_object(answer, 202)
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == f"{project.url}/tasks/{task['id']}"
    wait_until(
        lambda: read_object(project.get(f"/tasks/{task['id']}"))["status"] == "complete", "a file"
    )


def test_a_version_of_published_clients_has_the_bare_file(
    project: Api, picture: bytes, folder: str
) -> None:
    headers = {"Accept-Version": "2025-08-20"}
    answer = _put(_sign(project, folder, "a.jpg"), picture, headers)
    assert answer.status_code == 201
    assert answer.json()["object"] == "file"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"method": "put", "filename": f"{Prefix.FILE}_{ULID}"}, "filename"),
        ({"method": "put", "filename": "a", "if_exists": "replace"}, "if_exists"),
        ({"method": "put", "filename": "a", "if_exists": 5}, "if_exists"),
        ({"method": "put", "filename": "a", "access": "private"}, "access"),
        ({"filename": "a", "if_exists": "rename"}, "if_exists"),
        ({"method": "get", "filename": "a", "access": "signed"}, "access"),
        ({"method": "put", "filename": "a", "expiry": 1}, "expiry"),
    ],
)
def test_what_cannot_be_signed_is_refused_by_name(asked: JsonDict, param: str, api: Api) -> None:
    error = read_error(api.post("/signatures", asked), 422, "field_invalid")
    assert error["param"] == param
