"""Servers and workers that die while people work: what is named, what is kept, what goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
import requests

from cli.local import LocalStack
from ingest.config import MIB
from storage.objects.s3 import S3ObjectStore
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.media import make_media
from tests.support.origin import Origin, Reply, Stall
from tests.support.padding import pad_mp4
from tests.support.tasks import wait_for_end
from tests.support.waiting import wait_until

LEASE_S = 6.0
ENDS_WITHIN_S = 30.0


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, source: Origin) -> Iterator[LocalStack]:
    """A stack of this module's own, to be broken and mended."""
    with make_stack(
        source,
        HEADRACE_LEASE_S=str(LEASE_S),
        HEADRACE_RESEND_AFTER_S="2",
        HEADRACE_SYNC_TIMEOUT_S="20",
        HEADRACE_FIRST_BYTE_TIMEOUT_S="60",
        HEADRACE_RETRY_BASE_S="1",
    ) as running:
        yield running


@pytest.fixture
def picture_url(source: Origin, picture: bytes) -> str:
    return source.serve("/picture.jpg", picture)


@pytest.fixture(autouse=True)
def every_role_lives_on(stack: LocalStack) -> Iterator[None]:
    """Whatever a test breaks, it is mended in the end, and nobody else fell over."""
    before = stack.processes
    yield
    _wait_ready(stack)
    after = stack.processes
    assert set(after) == set(before)


def _read_checks(stack: LocalStack) -> tuple[int, JsonDict]:
    answer = requests.get(f"{stack.api_url}/readyz", timeout=20)
    body = answer.json()
    assert body["status"] == ("ok" if answer.status_code == 200 else "unavailable")
    return answer.status_code, body["checks"]


def _wait_ready(stack: LocalStack) -> None:
    wait_until(lambda: _read_checks(stack)[0] == 200, "the stack ready again", 30)


def _wait_replaced(stack: LocalStack, name: str, pid: int) -> None:
    wait_until(lambda: stack.processes.get(name) not in {None, pid}, f"a new {name}")
    stack.wait_ready(name)


def _list_attempts(task: JsonDict) -> list[JsonDict]:
    return cast("list[JsonDict]", task["attempts"])


@pytest.mark.parametrize(
    ("child", "named", "untouched"),
    [
        ("valkey", {"redis", "worker"}, {"postgresql", "s3"}),
        ("postgres", {"postgresql"}, {"redis", "s3", "worker"}),
        ("seaweedfs", {"s3"}, {"postgresql", "redis", "worker"}),
        ("worker", {"worker"}, {"postgresql", "redis", "s3"}),
    ],
)
def test_a_service_that_is_missing_is_named_and_then_ready_again(
    child: str, named: set[str], untouched: set[str], stack: LocalStack
) -> None:
    before = stack.processes
    stack.stop_child(child)
    status, checks = _read_checks(stack)
    alive = requests.get(f"{stack.api_url}/healthz", timeout=5)
    stack.start_child(child)

    assert (status, alive.status_code) == (503, 200)
    assert {name for name, state in checks.items() if state != "ok"} == named
    assert {name for name, state in checks.items() if state == "ok"} == untouched
    for name in named:
        assert str(checks[name]).endswith(".")
    _wait_ready(stack)
    others = {name: pid for name, pid in before.items() if name != child}
    assert {name: stack.processes[name] for name in others} == others


def test_what_is_asked_without_redis_is_done_when_redis_is_back(
    stack: LocalStack, api: Api, picture_url: str
) -> None:
    stack.stop_child("valkey")
    began = time.monotonic()
    task = read_object(api.post("/tasks", {"kind": "ingest", "url": picture_url}), 201)
    took_s = time.monotonic() - began
    with ThreadPoolExecutor(1) as pool, Api(stack.api_url, stack.api_key) as other:
        # Nothing tells it of the end, so it looks at the row again and again.
        sync = pool.submit(other.post, "/files", {"url": picture_url, "ref": "patient"})
        wait_until(
            lambda: read_list(api.get("/tasks?ref=patient"))[0],
            "the synchronous call to be written down",
        )
        assert read_object(api.get(f"/tasks/{task['id']}"))["status"] == "pending"
        stack.start_child("valkey")
        read_object(sync.result(), 201)

    assert took_s < 3
    assert wait_for_end(api, task, ENDS_WITHIN_S)["status"] == "complete"


def test_without_postgresql_every_call_says_so_within_seconds(
    stack: LocalStack, api: Api, picture_url: str
) -> None:
    file = read_object(api.post("/files", {"url": picture_url}), 201)
    stack.stop_child("postgres")
    answers = []
    for method, path, body in (
        ("POST", "/tasks", {"kind": "ingest", "url": picture_url}),
        ("POST", "/files", {"url": picture_url}),
        ("GET", "/tasks", None),
        ("GET", f"/files/{file['id']}", None),
        ("DELETE", f"/files/{file['id']}", None),
        ("GET", f"/delivery/{file['id']}", None),
    ):
        began = time.monotonic()
        answer = api.post(path, body) if method == "POST" else api.send(method, path)
        answers.append((f"{method} {path}", answer, time.monotonic() - began))
    metrics = requests.get(f"{stack.api_url}/metrics", timeout=10)
    stack.start_child("postgres")

    for what, answer, took_s in answers:
        error = read_error(answer, 503, "database_unavailable")
        assert error["message"] == "PostgreSQL does not answer.", what
        assert int(answer.headers["Retry-After"]) >= 1
        assert took_s < 3, what
    assert 'headrace_service_up{service="postgresql"} 0.0' in metrics.text
    read_object(api.post("/files", {"url": picture_url}), 201)


def test_an_ingest_goes_on_while_postgresql_is_away_for_less_than_its_lease(
    stack: LocalStack, api: Api, source: Origin, picture: bytes
) -> None:
    stall = Stall()
    url = source.serve("/restart.jpg", picture, stall=stall)
    task = read_object(api.post("/tasks", {"kind": "ingest", "url": url}), 201)
    assert stall.reached.wait(10)
    stack.restart("postgres")
    stall.released.set()

    ended = wait_for_end(api, task, ENDS_WITHIN_S)
    assert (ended["status"], len(_list_attempts(ended))) == ("complete", 1)


def test_without_the_object_store_an_ingest_waits_and_a_file_cannot_be_deleted(
    stack: LocalStack, api: Api, picture_url: str
) -> None:
    file = read_object(api.post("/files", {"url": picture_url}), 201)
    stack.stop_child("seaweedfs")
    order = {"url": picture_url, "filename": "no-store.jpg", "max_attempts": 1}
    task = read_object(api.post("/tasks", {"kind": "ingest", **order}), 201)

    def look() -> JsonDict | None:
        found = read_object(api.get(f"/tasks/{task['id']}"))
        return found if found["next_attempt_at"] is not None else None

    waiting = wait_until(look, "the first attempt to end")
    kept = api.delete(f"/files/{file['id']}")
    stack.start_child("seaweedfs")
    _wait_ready(stack)

    # An outage of ours costs no attempt: there was only one to lose.
    assert waiting["status"] == "pending"
    assert cast("JsonDict", waiting["error"])["code"] == "storage_unavailable"
    ended = wait_for_end(api, task, ENDS_WITHIN_S)
    assert (ended["status"], ended["error"]) == ("complete", None)
    read_error(kept, 503, "storage_unavailable")
    assert read_object(api.get(f"/files/{file['id']}")) == file
    assert requests.get(str(file["url"]), timeout=10).status_code == 200
    assert api.delete(f"/files/{file['id']}").status_code == 200


def test_worker_and_beat_outlive_a_redis_that_is_killed(
    stack: LocalStack, api: Api, source: Origin, picture: bytes, picture_url: str
) -> None:
    before = stack.processes
    stall = Stall()
    running = read_object(
        api.post(
            "/tasks",
            {"kind": "ingest", "url": source.serve("/survives.jpg", picture, stall=stall)},
        ),
        201,
    )
    assert stall.reached.wait(10)
    for _ in range(3):
        pid = stack.processes["valkey"]
        stack.kill("valkey")
        _wait_replaced(stack, "valkey", pid)
        _wait_ready(stack)
        task = read_object(api.post("/tasks", {"kind": "ingest", "url": picture_url}), 201)
        assert wait_for_end(api, task, ENDS_WITHIN_S)["status"] == "complete"
        read_object(api.post("/files", {"url": picture_url}), 201)
    stall.released.set()

    ended = wait_for_end(api, running, ENDS_WITHIN_S)
    assert (ended["status"], len(_list_attempts(ended))) == ("complete", 1)
    for name in ("worker", "sender", "beat", "api"):
        assert stack.processes[name] == before[name]


def test_what_a_killed_worker_had_begun_is_done_by_the_next_one(
    stack: LocalStack, api: Api, source: Origin, media_folder: Path, own_store: S3ObjectStore
) -> None:
    video = pad_mp4(make_media("mp4", media_folder).read_bytes(), 20 * MIB)
    stall = Stall(at_bytes=18 * MIB)
    url = source.route("/killed.mp4", Reply(body=video, stall=stall), Reply(body=video))
    order = {"url": url, "folder": "killed", "filename": "a.mp4"}
    task = read_object(api.post("/tasks", {"kind": "ingest", **order}), 201)
    assert stall.reached.wait(10)
    killed = stack.processes["worker"]
    stack.kill("worker")

    ended = wait_for_end(api, task, LEASE_S + ENDS_WITHIN_S)

    assert ended["status"] == "complete"
    file = cast("JsonDict", ended["output"])
    assert file["checksum"] == f"sha256:{video.hash_sha256()}"
    first, second = _list_attempts(ended)
    assert (first["number"], second["number"]) == (1, 2)
    assert cast("JsonDict", first["error"])["code"] == "lease_lost"
    assert second["error"] is None
    assert f"-{killed}-" in str(first["worker"])
    assert f"-{stack.processes['worker']}-" in str(second["worker"])
    stored = own_store.describe("killed/a.mp4")
    assert stored is not None
    assert stored.metadata["headrace-attempt"] == "2"


def test_a_worker_that_is_told_to_stop_finishes_what_it_has_begun(
    stack: LocalStack, api: Api, source: Origin, picture: bytes, picture_url: str
) -> None:
    stall = Stall()
    url = source.serve("/graceful.jpg", picture, stall=stall)
    begun = read_object(api.post("/tasks", {"kind": "ingest", "url": url}), 201)
    assert stall.reached.wait(10)
    with ThreadPoolExecutor(1) as pool:
        restart = pool.submit(stack.restart, "worker")
        # Told to stop, it takes nothing new.
        later = read_object(api.post("/tasks", {"kind": "ingest", "url": picture_url}), 201)
        stall.released.set()
        restart.result()

    for task in (begun, later):
        ended = wait_for_end(api, task, ENDS_WITHIN_S)
        assert ended["status"] == "complete"
    assert len(_list_attempts(read_object(api.get(f"/tasks/{begun['id']}")))) == 1
