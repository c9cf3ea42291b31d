"""What a person decides about a task: cancelled, retried, sent to another URL, run before others.

One worker with one slot: a source that is silent keeps every other task pending.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.config import MIB, Settings, load_settings
from ingest.ids import Prefix, make_id
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.records import keys
from storage.records.database import Database
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.leftovers import list_uploads
from tests.support.media import make_media
from tests.support.origin import Origin, Reply, Stall
from tests.support.padding import pad_mp4
from tests.support.waiting import wait_until

LETS_GO_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def source() -> Iterator[Origin]:
    with Origin() as running:
        yield running


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, source: Origin) -> Iterator[LocalStack]:
    """A stack that runs one ingest at a time, and is patient with silent sources."""
    with LocalStack(
        tmp_path_factory.mktemp("narrow"),
        extra_environ={
            "HEADRACE_WORKER_SLOTS": "1",
            "HEADRACE_DISPATCH_WINDOW": "1",
            "HEADRACE_FIRST_BYTE_TIMEOUT_S": "60",
            "HEADRACE_RETRY_BASE_S": "0.2",
        },
        allow_addresses=[f"127.0.0.1:{source.port}"],
    ) as running:
        yield running


@pytest.fixture(scope="module")
def own_settings(narrow: LocalStack) -> Settings:
    return load_settings(narrow.environ)


@pytest.fixture(scope="module")
def own_store(own_settings: Settings) -> S3ObjectStore:
    return s3.connect(own_settings, pool_size=2)


@pytest.fixture
def api(narrow: LocalStack) -> Iterator[Api]:
    with Api(narrow.api_url, narrow.api_key) as opened:
        yield opened


@pytest.fixture
def stranger(narrow: LocalStack, own_settings: Settings) -> Iterator[Api]:
    """Somebody of another project."""
    database = Database(own_settings.sqlalchemy_url)
    with database.transaction() as connection:
        project = keys.ensure_project(connection, "stranger", key_prefix="stranger")
        _, secret = keys.create_key(connection, project.id, "tests")
    database.close()
    with Api(narrow.api_url, secret) as opened:
        yield opened


@pytest.fixture
def busy(api: Api, source: Origin, picture: bytes) -> Iterator[Stall]:
    """The one slot, taken until the stall is released."""
    stall = Stall()
    task = _create(api, source.serve(_make_path(), picture, stall=stall))
    assert stall.reached.wait(15)
    yield stall
    stall.released.set()
    assert _wait_for_end(api, task)["status"] == "complete"


@pytest.fixture(autouse=True)
def every_stall_ends(source: Origin) -> Iterator[None]:
    """A test that fails must not take the slot from the next one."""
    yield
    with source._changed:
        for stall in source._stalls:
            stall.released.set()


def _make_path() -> str:
    return f"/actions/{secrets.token_hex(6)}"


def _create(api: Api, url: str, **more: object) -> JsonDict:
    return read_object(api.post("/tasks", {"kind": "ingest", "url": url, **more}), 201)


def _read(api: Api, task: JsonDict) -> JsonDict:
    return read_object(api.get(f"/tasks/{task['id']}"))


def _wait_for_end(api: Api, task: JsonDict, timeout_s: float = 20) -> JsonDict:
    def look() -> JsonDict | None:
        found = _read(api, task)
        return found if found["status"] in {"complete", "failed", "cancelled"} else None

    return wait_until(look, "the end of a task", timeout_s)


def _wait_for_failure(api: Api, task: JsonDict, code: str) -> JsonDict:
    ended = _wait_for_end(api, task)
    assert ended["status"] == "failed"
    assert _get_code(ended) == code
    return ended


def _get_code(task: JsonDict) -> object:
    return cast("JsonDict", task["error"])["code"]


def _list_errors(task: JsonDict) -> list[object]:
    """Return the code of each attempt's error, or None."""
    attempts = cast("list[JsonDict]", task["attempts"])
    assert [attempt["number"] for attempt in attempts] == list(range(1, len(attempts) + 1))
    errors = [cast("JsonDict | None", attempt["error"]) for attempt in attempts]
    return [None if error is None else error["code"] for error in errors]


def _cancel(api: Api, task: JsonDict) -> JsonDict:
    return read_object(api.send("POST", f"/tasks/{task['id']}/cancel"))


def _retry(api: Api, task: JsonDict) -> JsonDict:
    return read_object(api.send("POST", f"/tasks/{task['id']}/retry"))


def _count_requests(source: Origin, url: str) -> int:
    return sum(source.url(request.target) == url for request in source.requests)


def _is_connected(source: Origin, url: str) -> bool:
    """Return whether the client that asked for a URL last still holds its connection."""
    peer = [one.peer for one in source.requests if source.url(one.target) == url][-1]
    with source._changed:
        for connection in source._connections:
            try:
                if connection.getpeername() == peer:
                    return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
            except BlockingIOError:
                return True
            except OSError:
                # It is being closed.
                continue
    return False


def _wait_let_go(source: Origin, url: str) -> None:
    # A second more than is promised, for a machine that is busy with other things.
    wait_until(lambda: not _is_connected(source, url), "the worker to let go", LETS_GO_WITHIN_S + 1)


def test_a_pending_task_is_cancelled_and_never_runs(
    api: Api, busy: Stall, source: Origin, picture: bytes
) -> None:
    url, other_url = (source.serve(_make_path(), picture) for _ in range(2))
    order = {"folder": "cancelled", "filename": "pending.jpg"}
    task = _create(api, url, **order)
    cancelled = _cancel(api, task)

    assert (cancelled["status"], cancelled["attempts"]) == ("cancelled", [])
    assert cancelled["error"] == {
        "code": "cancelled",
        "message": "Somebody cancelled the task.",
        "retryable": False,
    }
    assert cancelled["finished"] is not None
    assert cancelled["next_attempt_at"] is cancelled["output"] is cancelled["started"] is None
    assert _read(api, task) == cancelled
    # Its name is free, and whoever has it now is served after it.
    other = _create(api, other_url, **order)
    busy.released.set()
    assert _wait_for_end(api, other)["status"] == "complete"
    assert _count_requests(source, url) == 0
    assert _read(api, task) == cancelled


def test_a_task_that_waits_for_its_next_attempt_tells_why_and_is_cancelled(
    api: Api, source: Origin
) -> None:
    url = source.serve(_make_path(), status=503, headers={"Retry-After": "600"})
    task = _create(api, url, max_attempts=3)

    def look() -> JsonDict | None:
        found = _read(api, task)
        return found if found["next_attempt_at"] is not None else None

    waiting = wait_until(look, "a wait for the next attempt", 15)
    assert (waiting["status"], _get_code(waiting)) == ("pending", "source_unavailable")
    assert _list_errors(waiting) == ["source_unavailable"]
    assert str(waiting["next_attempt_at"]) > str(waiting["updated"])
    cancelled = _cancel(api, task)
    assert (cancelled["status"], cancelled["next_attempt_at"]) == ("cancelled", None)
    assert (_get_code(cancelled), _list_errors(cancelled)) == ("cancelled", ["source_unavailable"])


def test_cancelling_twice_is_cancelling_once(api: Api, busy: Stall, source: Origin) -> None:
    task = _create(api, source.url("/never"))
    assert _cancel(api, task) == _cancel(api, task)


def test_what_has_ended_otherwise_is_not_cancelled(
    api: Api, source: Origin, picture: bytes
) -> None:
    complete = _create(api, source.serve(_make_path(), picture))
    failed = _create(api, source.url("/nothing"))
    for task, state in ((complete, "complete"), (failed, "failed")):
        ended = _wait_for_end(api, task)
        error = read_error(api.send("POST", f"/tasks/{task['id']}/cancel"), 409, "conflict")
        assert state in str(error["message"])
        assert error["param"] is None
        assert _read(api, task) == ended


@pytest.mark.parametrize("at_bytes", [None, 100], ids=["no answer", "half a body"])
def test_a_running_task_is_cancelled_at_once_and_its_worker_lets_go(
    at_bytes: int | None, api: Api, source: Origin, picture: bytes, own_store: S3ObjectStore
) -> None:
    stall = Stall(at_bytes=at_bytes)
    url = source.serve(_make_path(), picture, stall=stall)
    name = f"{secrets.token_hex(4)}.jpg"
    task = _create(api, url, folder="cancelled", filename=name)
    assert stall.reached.wait(15)
    assert _is_connected(source, url)
    began = time.monotonic()
    cancelled = _cancel(api, task)
    took_s = time.monotonic() - began
    _wait_let_go(source, url)

    assert took_s < 1
    assert (cancelled["status"], cancelled["transfer"]) == ("cancelled", None)
    assert _list_errors(cancelled) == ["cancelled"]
    # The slot is free: with one slot, nothing else would run.
    next_one = _create(api, source.serve(_make_path(), picture))
    assert _wait_for_end(api, next_one)["status"] == "complete"
    stall.released.set()
    assert _read(api, task) == cancelled
    assert own_store.describe(f"cancelled/{name}") is None


def test_what_a_cancelled_task_had_uploaded_is_gone_soon(
    api: Api, source: Origin, media_folder: Path, own_store: S3ObjectStore
) -> None:
    video = pad_mp4(make_media("mp4", media_folder).read_bytes(), 30 * MIB)
    stall = Stall(at_bytes=28 * MIB)
    url = source.route(_make_path(), Reply(body=video, stall=stall))
    task = _create(api, url, folder="cancelled", filename="long.mp4")
    assert stall.reached.wait(15)
    wait_until(lambda: "cancelled/long.mp4" in list_uploads(own_store), "an upload", 15)
    _cancel(api, task)

    _wait_let_go(source, url)
    wait_until(
        lambda: "cancelled/long.mp4" not in list_uploads(own_store), "no upload", LETS_GO_WITHIN_S
    )
    assert own_store.describe("cancelled/long.mp4") is None
    assert _read(api, task)["status"] == "cancelled"


def test_who_waits_for_a_file_hears_at_once_that_somebody_cancelled_it(
    api: Api, narrow: LocalStack, source: Origin, picture: bytes
) -> None:
    stall = Stall()
    ref = secrets.token_hex(4)
    url = source.serve(_make_path(), picture, stall=stall)
    with ThreadPoolExecutor(1) as pool, Api(narrow.api_url, narrow.api_key) as waiting:
        answer = pool.submit(waiting.post, "/files", {"url": url, "ref": ref})
        assert stall.reached.wait(15)
        ((task,), _, _) = read_list(api.get(f"/tasks?ref={ref}"))
        _cancel(api, task)
        error = read_error(answer.result(5), 422, "cancelled")
    assert (error["param"], error["retryable"], error["task_id"]) == (None, False, task["id"])
    stall.released.set()


def test_a_failed_task_is_retried_under_the_same_ids(
    api: Api, source: Origin, picture: bytes
) -> None:
    url = source.route(_make_path(), Reply(status=404), Reply(body=picture))
    name = f"{secrets.token_hex(4)}.jpg"
    task = _create(api, url, folder="retried", filename=name)
    failed = _wait_for_failure(api, task, "source_not_found")
    retried = _retry(api, task)

    assert (retried["id"], retried["status"], retried["error"]) == (task["id"], "pending", None)
    assert retried["finished"] is retried["next_attempt_at"] is None
    assert retried["attempts"] == failed["attempts"]
    ended = _wait_for_end(api, task)
    assert ended["status"] == "complete"
    assert _list_errors(ended) == ["source_not_found", None]
    assert cast("JsonDict", ended["output"])["filename"] == name


def test_a_retried_task_has_all_its_attempts_again(api: Api, source: Origin) -> None:
    url = source.serve(_make_path(), status=503)
    task = _create(api, url, max_attempts=2)
    _wait_for_failure(api, task, "source_unavailable")
    _retry(api, task)
    failed = _wait_for_failure(api, task, "source_unavailable")
    assert len(_list_errors(failed)) == _count_requests(source, url) == 4


def test_a_cancelled_task_is_retried(api: Api, busy: Stall, source: Origin, picture: bytes) -> None:
    task = _create(api, source.serve(_make_path(), picture), filename="second-thoughts.jpg")
    _cancel(api, task)
    assert _retry(api, task)["status"] == "pending"
    busy.released.set()
    ended = _wait_for_end(api, task)
    assert (ended["status"], _list_errors(ended)) == ("complete", [None])


def test_a_task_that_is_cancelled_while_it_runs_and_retried_at_once_is_done_once(
    api: Api, source: Origin, picture: bytes
) -> None:
    stall = Stall(at_bytes=100)
    other = picture + b"second"
    url = source.route(_make_path(), Reply(body=picture, stall=stall), Reply(body=other))
    ref = secrets.token_hex(4)
    task = _create(api, url, ref=ref)
    assert stall.reached.wait(15)
    _cancel(api, task)
    _retry(api, task)

    ended = _wait_for_end(api, task)
    stall.released.set()
    assert (ended["status"], _list_errors(ended)) == ("complete", ["cancelled", None])
    files, _, _ = read_list(api.get(f"/files?ref={ref}"))
    assert [file["filesize"] for file in files] == [len(other)]


def test_a_task_whose_name_was_taken_meanwhile_is_not_retried(
    api: Api, source: Origin, picture: bytes
) -> None:
    order = {"folder": "retried", "filename": f"{secrets.token_hex(4)}.jpg"}
    task = _create(api, source.url("/nothing"), **order)
    failed = _wait_for_failure(api, task, "source_not_found")
    other = _create(api, source.serve(_make_path(), picture), **order)
    error = read_error(api.send("POST", f"/tasks/{task['id']}/retry"), 409, "file_exists")
    assert error["param"] == "filename"
    assert _read(api, task) == failed

    file = cast("JsonDict", _wait_for_end(api, other)["output"])
    read_error(api.send("POST", f"/tasks/{task['id']}/retry"), 409, "file_exists")
    assert api.delete(f"/files/{file['id']}").status_code == 204
    assert _retry(api, task)["status"] == "pending"
    _wait_for_failure(api, task, "source_not_found")


def test_what_is_not_over_or_complete_is_not_retried(
    api: Api, busy: Stall, source: Origin, picture: bytes
) -> None:
    pending = _create(api, source.serve(_make_path(), picture))
    ((running,), _, _) = read_list(api.get("/tasks?status=processing"))

    def refuse(task: JsonDict, state: str) -> None:
        before = _read(api, task)
        error = read_error(api.send("POST", f"/tasks/{task['id']}/retry"), 409, "conflict")
        assert state in str(error["message"])
        assert {**_read(api, task), "transfer": None} == {**before, "transfer": None}

    refuse(pending, "pending")
    refuse(running, "processing")
    busy.released.set()
    _wait_for_end(api, pending)
    refuse(pending, "complete")


def test_a_pending_task_is_done_from_its_new_url_alone(
    api: Api, busy: Stall, source: Origin, picture: bytes
) -> None:
    old, new = (source.serve(f"{_make_path()}?signature={n}", picture) for n in (1, 2))
    task = _create(api, old)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": f"{new}#fragment"}))
    assert (changed["status"], cast("JsonDict", changed["input"])["url"]) == ("pending", new)
    assert str(changed["updated"]) > str(task["updated"])
    busy.released.set()
    file = cast("JsonDict", _wait_for_end(api, task)["output"])
    assert file["source"] == new.partition("?")[0]
    assert [_count_requests(source, url) for url in (old, new)] == [0, 1]


def test_a_task_that_waits_runs_at_once_with_a_new_url(
    api: Api, source: Origin, picture: bytes
) -> None:
    old = source.serve(_make_path(), status=503, headers={"Retry-After": "600"})
    new = source.serve(_make_path(), picture)
    task = _create(api, old, max_attempts=3)
    wait_until(lambda: _read(api, task)["next_attempt_at"], "a wait for the next attempt", 15)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": new}))
    assert changed["next_attempt_at"] is None
    ended = _wait_for_end(api, task)
    assert (ended["status"], _list_errors(ended)) == ("complete", ["source_unavailable", None])


def test_a_running_attempt_goes_on_with_its_old_url(
    api: Api, source: Origin, picture: bytes
) -> None:
    stall = Stall(at_bytes=100)
    old = source.serve(_make_path(), picture, stall=stall)
    task = _create(api, old)
    assert stall.reached.wait(15)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": source.url("/nothing")}))
    assert changed["status"] == "processing"
    stall.released.set()
    ended = _wait_for_end(api, task)
    assert (ended["status"], _list_errors(ended)) == ("complete", [None])
    assert cast("JsonDict", ended["output"])["source"] == old


def test_a_failed_task_is_done_after_a_new_url_and_a_retry(
    api: Api, source: Origin, picture: bytes
) -> None:
    task = _create(api, source.serve(_make_path(), status=403))
    failed = _wait_for_failure(api, task, "source_forbidden")
    new = source.serve(_make_path(), picture)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": new}))
    assert (changed["status"], changed["error"]) == ("failed", failed["error"])
    _retry(api, task)
    ended = _wait_for_end(api, task)
    assert (ended["status"], _list_errors(ended)) == ("complete", ["source_forbidden", None])


def test_a_complete_task_takes_no_new_url(api: Api, source: Origin, picture: bytes) -> None:
    task = _create(api, source.serve(_make_path(), picture))
    ended = _wait_for_end(api, task)
    answer = api.patch(f"/tasks/{task['id']}", {"url": source.url("/other")})
    assert "complete" in str(read_error(answer, 409, "conflict")["message"])
    assert _read(api, task) == ended


def test_the_higher_its_priority_the_sooner_a_task_runs(
    api: Api, busy: Stall, source: Origin, picture: bytes
) -> None:
    # What the window holds already keeps its place, so it is filled first.
    for _ in range(3):
        _create(api, source.serve(_make_path(), picture), priority=10)
    wanted = [-10, 0, 9, -1, 3]
    made = [
        _create(api, source.serve(f"{_make_path()}/{priority}", picture), priority=priority)
        for priority in wanted
    ]
    urls = [cast("JsonDict", task["input"])["url"] for task in made]
    busy.released.set()
    for task in made:
        assert _wait_for_end(api, task)["status"] == "complete"
    asked = [source.url(request.target) for request in source.requests]
    ran = [wanted[urls.index(url)] for url in asked if url in urls]
    assert ran == sorted(wanted, reverse=True)


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_an_action_takes_no_body_or_an_empty_object(action: str, api: Api, busy: Stall) -> None:
    path = f"/tasks/{make_id(Prefix.TASK)}/{action}"
    json_type = {"Content-Type": "application/json"}
    for answer in (
        api.send("POST", path),
        api.send("POST", path, b""),
        api.send("POST", path, b"", json_type),
        api.post(path, {}),
    ):
        read_error(answer, 404, "not_found")
    error = read_error(api.post(path, {"reason": "x"}), 422, "field_invalid")
    assert (error["param"], error["message"]) == (
        "reason",
        "'reason' is no field of this request.",
    )
    read_error(api.post(path, []), 400, "body_invalid")
    read_error(api.post(path, None), 400, "body_invalid")
    read_error(api.send("POST", path, b"{", json_type), 400, "body_invalid")
    read_error(api.send("POST", path, b"{}"), 415, "media_type_unsupported")
    read_error(api.send("POST", path, b" " * (1024**2 + 1), json_type), 413, "body_too_large")


def test_another_projects_task_is_not_there_for_any_action(
    api: Api, stranger: Api, busy: Stall, source: Origin
) -> None:
    task = _create(api, source.url("/never"))
    before = _read(api, task)
    ids = [task["id"], make_id(Prefix.TASK), make_id(Prefix.FILE), "none", "%00"]
    for one in ids:
        path = f"/tasks/{one}"
        for answer in (
            stranger.get(path),
            stranger.patch(path, {"url": source.url("/other")}),
            stranger.send("POST", f"{path}/cancel"),
            stranger.send("POST", f"{path}/retry"),
        ):
            error = read_error(answer, 404, "not_found")
            assert error["message"] == "There is no such task in this project."
    assert _read(api, task) == before
    _cancel(api, task)
