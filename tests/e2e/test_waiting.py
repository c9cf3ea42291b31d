"""Whoever waits for a task, or asks again and again: by long poll, preference, ETag and events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import requests

from cli.local import LocalStack
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.origin import Origin, Stall
from tests.support.tasks import create_task, read_task, wait_for_end


@pytest.fixture
def stall() -> Iterator[Stall]:
    """What keeps a source silent until the test has seen enough."""
    made = Stall(at_bytes=100)
    yield made
    made.released.set()


@pytest.fixture
def slow_url(origin: Origin, picture: bytes, stall: Stall, request: pytest.FixtureRequest) -> str:
    """A source that keeps its end back."""
    return origin.serve(f"/waiting/{request.node.name[:40]}.jpg", picture, stall=stall)


def test_a_long_poll_is_answered_when_the_task_ends(
    api: Api, stack: LocalStack, slow_url: str, stall: Stall
) -> None:
    task = create_task(api, slow_url)
    assert stall.reached.wait(10)

    def ask() -> JsonDict:
        with Api(stack.api_url, api.key) as other:
            return read_object(other.get(f"/tasks/{task['id']}?wait=30"))

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask)
        assert read_object(api.get(f"/tasks/{task['id']}?wait=0"))["status"] == "processing"
        began = time.monotonic()
        assert read_object(api.get(f"/tasks/{task['id']}?wait=1"))["status"] == "processing"
        assert 0.9 < time.monotonic() - began < 5
        assert not waiting.done()
        stall.released.set()
        assert waiting.result(10)["status"] == "complete"
    assert read_object(api.get(f"/tasks/{task['id']}?wait=60"))["status"] == "complete"


@pytest.mark.parametrize("query", ["wait=-1", "wait=61", "wait=x", "wait=", "for=1"])
def test_a_wait_that_is_none_is_refused(query: str, api: Api, picture_url: str) -> None:
    task = create_task(api, picture_url)
    read_error(api.get(f"/tasks/{task['id']}?{query}"), 422, "field_invalid")


@pytest.mark.parametrize(
    ("wish", "applied"),
    [
        ("respond-async", "respond-async"),
        ("foo; a=b, wait=1", "wait=1"),
        ("wait=1, respond-async", "respond-async, wait=1"),
    ],
)
def test_an_order_is_waited_for_as_long_as_its_sender_prefers(
    wish: str, applied: str, api: Api, slow_url: str
) -> None:
    answer = api.post("/files", {"url": slow_url}, {"Prefer": wish})
    task = read_object(answer, 202)
    assert task["object"] == "task"
    assert answer.headers["Preference-Applied"] == applied
    assert answer.headers["Location"].endswith(f"/tasks/{task['id']}")


@pytest.mark.parametrize("wish", ["", "wait=soon", "wait=-1", "handling=lenient"])
def test_a_preference_that_says_nothing_is_ignored(wish: str, api: Api, picture_url: str) -> None:
    answer = api.post("/files", {"url": picture_url}, {"Prefer": wish})
    assert read_object(answer, 201)["object"] == "file"
    assert "Preference-Applied" not in answer.headers


def test_what_has_not_changed_is_not_sent_again(api: Api, slow_url: str, stall: Stall) -> None:
    task = create_task(api, slow_url)
    assert stall.reached.wait(10)
    path = f"/tasks/{task['id']}"
    first = api.get(path)
    tag = first.headers["ETag"]
    assert tag.startswith('W/"')
    again = api.get(path, {"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert "X-Request-Id" in again.headers
    bare = api.get(path, {"If-None-Match": tag, "Accept-Version": "2025-08-20"})
    assert bare.status_code == 200
    stall.released.set()
    wait_for_end(api, task)
    changed = api.get(path, {"If-None-Match": tag})
    assert (changed.status_code, changed.headers["ETag"] == tag) == (200, False)
    listed = api.get("/tasks?limit=1")
    same = api.get("/tasks?limit=1", {"If-None-Match": f'"x", {listed.headers["ETag"]}'})
    assert same.status_code == 304
    assert "ETag" not in api.get("/tasks/none").headers


def _listen(answer: requests.Response) -> Iterator[tuple[str | None, JsonDict]]:
    """Yield the id and the data of each event."""
    name = None
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        field, _, value = line.partition(": ")
        if field == "id":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def test_a_task_is_followed_to_its_end(
    api: Api, stack: LocalStack, slow_url: str, stall: Stall
) -> None:
    task = create_task(api, slow_url)
    assert stall.reached.wait(10)
    url = f"{stack.api_url}/tasks/{task['id']}/events"
    headers = {"Authorization": f"Bearer {api.key}"}
    with closing(requests.get(url, headers=headers, stream=True, timeout=20)) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        events = _listen(answer)
        _, first = next(events)
        assert first["status"] == "processing"
        stall.released.set()
        *_, (name, last) = events
    assert last == read_task(api, task)
    assert last["status"] == "complete"
    again = api.get(f"/tasks/{task['id']}/events", {"Last-Event-ID": str(name)})
    assert (again.status_code, again.content) == (204, b"")
    told = api.get(f"/tasks/{task['id']}/events", {"Last-Event-ID": "another"})
    assert [data for _, data in _listen(told)] == [last]
