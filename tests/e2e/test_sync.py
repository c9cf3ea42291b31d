"""``POST /files`` waits: as long as it may, where there is room, and for its own file."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from cli.client import fetch_status
from cli.local import LocalStack
from ingest.environ import make_child_environ
from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.origin import Origin, Stall
from tests.support.tasks import wait_for_end
from tests.support.waiting import wait_until

SYNC_TIMEOUT_S = 1.5


@pytest.fixture(scope="module")
def hasty(stack: LocalStack) -> Iterator[Api]:
    """A second API on the stack's servers: one waiting place, and little patience."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {
        **stack.environ,
        "HEADRACE_API_BIND": f"127.0.0.1:{port}",
        "HEADRACE_API_PROCESSES": "1",
        "HEADRACE_API_THREADS": "3",
        "HEADRACE_SYNC_TIMEOUT_S": str(SYNC_TIMEOUT_S),
    }
    log = stack.home.logs / "hasty-api.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api"],
            env=make_child_environ(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: fetch_status(f"{url}/healthz") == 200, "the second API", 20)
        with Api(url, stack.api_key) as opened:
            yield opened
    finally:
        process.terminate()
        assert process.wait(20) == 0


def test_past_its_patience_the_api_answers_with_the_task_and_the_ingest_goes_on(
    hasty: Api, origin: Origin, picture: bytes
) -> None:
    stall = Stall()
    url = origin.serve("/sync/late.jpg", picture, stall=stall)
    began = time.monotonic()

    answer = hasty.post("/files", {"url": url})

    assert SYNC_TIMEOUT_S <= time.monotonic() - began < SYNC_TIMEOUT_S + 3
    task = read_object(answer, 202)
    assert (task["object"], task["status"]) == ("task", "processing")
    assert answer.headers["Location"] == f"{hasty.url}/tasks/{task['id']}"
    assert answer.json()["links"]["self"] == answer.headers["Location"]
    stall.released.set()
    assert wait_for_end(hasty, task)["status"] == "complete"


def test_with_every_waiting_place_taken_the_api_answers_at_once(
    hasty: Api, stack: LocalStack, origin: Origin, picture: bytes
) -> None:
    stalls = [Stall(), Stall()]
    urls = [
        origin.serve(f"/sync/place-{number}.jpg", picture, stall=stall)
        for number, stall in enumerate(stalls)
    ]
    with ThreadPoolExecutor(1) as pool, Api(hasty.url, stack.api_key) as other:
        first = pool.submit(other.post, "/files", {"url": urls[0]})
        assert stalls[0].reached.wait(10)
        began = time.monotonic()
        second = read_object(hasty.post("/files", {"url": urls[1]}), 202)
        read_list(hasty.get("/tasks"))
        took_s = time.monotonic() - began
        assert not first.done()
        stalls[0].released.set()
        assert first.result().status_code == 201
    assert took_s < SYNC_TIMEOUT_S
    assert second["status"] in {"pending", "processing"}
    stalls[1].released.set()
    assert wait_for_end(hasty, second)["status"] == "complete"


def test_a_place_is_free_again_after_a_wait_of_any_outcome(
    hasty: Api, origin: Origin, picture_url: str
) -> None:
    for _ in range(3):
        read_error(hasty.post("/files", {"url": origin.url("/no")}), 422, "source_not_found")
        read_error(hasty.post("/files", {"url": ""}), 422, "field_invalid")
        read_object(hasty.post("/files", {"url": picture_url}), 201)


def test_a_caller_who_hangs_up_stops_nothing(
    stack: LocalStack, api: Api, origin: Origin, picture: bytes
) -> None:
    stall = Stall()
    url = origin.serve("/sync/hung-up.jpg", picture, stall=stall)
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(
            f"{stack.api_url}/files",
            json={"url": url, "ref": "hung-up"},
            headers={"Authorization": f"Bearer {stack.api_key}"},
            timeout=(5, 0.5),
        )
    assert stall.reached.wait(10)
    stall.released.set()

    (task,) = read_list(api.get("/tasks?ref=hung-up"))[0]
    assert wait_for_end(api, task)["status"] == "complete"


def test_ten_who_wait_at_once_each_get_their_own_file(
    stack: LocalStack, origin: Origin, picture: bytes
) -> None:
    bodies = [picture + bytes([number]) for number in range(10)]
    urls = [origin.serve(f"/sync/own-{number}.jpg", body) for number, body in enumerate(bodies)]

    def ask(number: int) -> JsonDict:
        with Api(stack.api_url, stack.api_key) as own:
            order = {"url": urls[number], "ref": f"own-{number}"}
            return read_object(own.post("/files", order), 201)

    with ThreadPoolExecutor(10) as pool:
        files = list(pool.map(ask, range(10)))

    assert len({file["id"] for file in files}) == 10
    for number, file in enumerate(files):
        assert (file["ref"], file["source"]) == (f"own-{number}", urls[number])
        assert requests.get(str(file["url"]), timeout=10).content == bodies[number]


@pytest.mark.parametrize("round_number", range(5))
def test_of_two_who_race_for_a_name_one_wins_and_the_object_is_the_winners(
    round_number: int, stack: LocalStack, origin: Origin, picture: bytes, store: S3ObjectStore
) -> None:
    bodies = [picture + bytes([number]) for number in range(4)]
    urls = [origin.serve(f"/sync/race-{number}.jpg", body) for number, body in enumerate(bodies)]
    start = threading.Barrier(len(urls))

    def ask(url: str) -> requests.Response:
        with Api(stack.api_url, stack.api_key) as own:
            own.get("/tasks?limit=1")
            start.wait(10)
            order = {"url": url, "folder": "race", "filename": f"{round_number}.jpg"}
            return own.post("/files", order)

    with ThreadPoolExecutor(len(urls)) as pool:
        answers = list(pool.map(ask, urls))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    for answer in answers:
        if answer.status_code == 409:
            read_error(answer, 409, "file_exists")
    (winner,) = [number for number, answer in enumerate(answers) if answer.status_code == 201]
    file = read_object(answers[winner], 201)
    assert requests.get(str(file["url"]), timeout=10).content == bodies[winner]
    stored = store.describe(f"race/{round_number}.jpg")
    assert stored is not None
    assert stored.metadata["headrace-file-id"] == file["id"]


def test_a_name_that_a_running_task_will_have_is_taken_already(
    api: Api, origin: Origin, picture: bytes, picture_url: str
) -> None:
    stall = Stall()
    order = {"folder": "race", "filename": "promised.jpg"}
    url = origin.serve("/sync/promised.jpg", picture, stall=stall)
    task = read_object(api.post("/tasks", {"kind": "ingest", "url": url, **order}), 201)
    assert stall.reached.wait(10)

    read_error(api.post("/files", {"url": picture_url, **order}), 409, "file_exists")
    read_error(
        api.post("/tasks", {"kind": "ingest", "url": picture_url, **order}), 409, "file_exists"
    )

    stall.released.set()
    assert wait_for_end(api, task)["status"] == "complete"
