"""A task is cancelled: at once, whatever it does, and its worker lets go."""

from __future__ import annotations

import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.local import LocalStack
from ingest.config import MIB
from storage.objects.s3 import S3ObjectStore
from tests.e2e.decisions.steps import cancel, count_requests, get_code, make_path
from tests.support.api import Api, JsonDict, read_error, read_list
from tests.support.leftovers import list_uploads
from tests.support.media import make_media
from tests.support.origin import Origin, Reply, Stall
from tests.support.padding import pad_mp4
from tests.support.tasks import create_task, list_errors, read_task, wait_for_end
from tests.support.waiting import wait_until

LETS_GO_WITHIN_S = 2.0


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
    url, other_url = (source.serve(make_path(), picture) for _ in range(2))
    order = {"folder": "cancelled", "filename": "pending.jpg"}
    task = create_task(api, url, **order)
    cancelled = cancel(api, task)

    assert (cancelled["status"], cancelled["attempts"]) == ("cancelled", [])
    assert cancelled["error"] == {
        "code": "cancelled",
        "message": "Somebody cancelled the task.",
        "retryable": False,
    }
    assert cancelled["finished"] is not None
    assert cancelled["next_attempt_at"] is cancelled["output"] is cancelled["started"] is None
    assert read_task(api, task) == cancelled
    # Its name is free, and whoever has it now is served after it.
    other = create_task(api, other_url, **order)
    busy.released.set()
    assert wait_for_end(api, other)["status"] == "complete"
    assert count_requests(source, url) == 0
    assert read_task(api, task) == cancelled


def test_a_task_that_waits_for_its_next_attempt_tells_why_and_is_cancelled(
    api: Api, source: Origin
) -> None:
    url = source.serve(make_path(), status=503, headers={"Retry-After": "600"})
    task = create_task(api, url, max_attempts=3)

    def look() -> JsonDict | None:
        found = read_task(api, task)
        return found if found["next_attempt_at"] is not None else None

    waiting = wait_until(look, "a wait for the next attempt", 15)
    assert (waiting["status"], get_code(waiting)) == ("pending", "source_unavailable")
    assert list_errors(waiting) == ["source_unavailable"]
    assert str(waiting["next_attempt_at"]) > str(waiting["updated"])
    cancelled = cancel(api, task)
    assert (cancelled["status"], cancelled["next_attempt_at"]) == ("cancelled", None)
    assert (get_code(cancelled), list_errors(cancelled)) == ("cancelled", ["source_unavailable"])


def test_cancelling_twice_is_cancelling_once(api: Api, busy: Stall, source: Origin) -> None:
    task = create_task(api, source.url("/never"))
    assert cancel(api, task) == cancel(api, task)


def test_what_has_ended_otherwise_is_not_cancelled(
    api: Api, source: Origin, picture: bytes
) -> None:
    complete = create_task(api, source.serve(make_path(), picture))
    failed = create_task(api, source.url("/nothing"))
    for task, state in ((complete, "complete"), (failed, "failed")):
        ended = wait_for_end(api, task)
        error = read_error(api.send("POST", f"/tasks/{task['id']}/cancel"), 409, "conflict")
        assert state in str(error["message"])
        assert error["param"] is None
        assert read_task(api, task) == ended


@pytest.mark.parametrize("at_bytes", [None, 100], ids=["no answer", "half a body"])
def test_a_running_task_is_cancelled_at_once_and_its_worker_lets_go(
    at_bytes: int | None, api: Api, source: Origin, picture: bytes, own_store: S3ObjectStore
) -> None:
    stall = Stall(at_bytes=at_bytes)
    url = source.serve(make_path(), picture, stall=stall)
    name = f"{secrets.token_hex(4)}.jpg"
    task = create_task(api, url, folder="cancelled", filename=name)
    assert stall.reached.wait(15)
    assert _is_connected(source, url)
    began = time.monotonic()
    cancelled = cancel(api, task)
    took_s = time.monotonic() - began
    _wait_let_go(source, url)

    assert took_s < 1
    assert (cancelled["status"], cancelled["transfer"]) == ("cancelled", None)
    assert list_errors(cancelled) == ["cancelled"]
    # The slot is free: with one slot, nothing else would run.
    next_one = create_task(api, source.serve(make_path(), picture))
    assert wait_for_end(api, next_one)["status"] == "complete"
    stall.released.set()
    assert read_task(api, task) == cancelled
    assert own_store.describe(f"cancelled/{name}") is None


def test_what_a_cancelled_task_had_uploaded_is_gone_soon(
    api: Api, source: Origin, media_folder: Path, own_store: S3ObjectStore
) -> None:
    video = pad_mp4(make_media("mp4", media_folder).read_bytes(), 30 * MIB)
    stall = Stall(at_bytes=28 * MIB)
    url = source.route(make_path(), Reply(body=video, stall=stall))
    task = create_task(api, url, folder="cancelled", filename="long.mp4")
    assert stall.reached.wait(15)
    wait_until(lambda: "cancelled/long.mp4" in list_uploads(own_store), "an upload", 15)
    cancel(api, task)

    _wait_let_go(source, url)
    wait_until(
        lambda: "cancelled/long.mp4" not in list_uploads(own_store), "no upload", LETS_GO_WITHIN_S
    )
    assert own_store.describe("cancelled/long.mp4") is None
    assert read_task(api, task)["status"] == "cancelled"


def test_who_waits_for_a_file_hears_at_once_that_somebody_cancelled_it(
    api: Api, stack: LocalStack, source: Origin, picture: bytes
) -> None:
    stall = Stall()
    ref = secrets.token_hex(4)
    url = source.serve(make_path(), picture, stall=stall)
    with ThreadPoolExecutor(1) as pool, Api(stack.api_url, stack.api_key) as waiting:
        answer = pool.submit(waiting.post, "/files", {"url": url, "ref": ref})
        assert stall.reached.wait(15)
        ((task,), _, _) = read_list(api.get(f"/tasks?ref={ref}"))
        cancel(api, task)
        error = read_error(answer.result(5), 422, "cancelled")
    assert (error["param"], error["retryable"], error["task_id"]) == (None, False, task["id"])
    stall.released.set()
