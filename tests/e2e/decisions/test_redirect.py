"""A task is sent to another URL: whoever fetches next fetches from there."""

from __future__ import annotations

from typing import cast

from tests.e2e.decisions.steps import count_requests, make_path, retry, wait_for_failure
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.origin import Origin, Stall
from tests.support.tasks import create_task, list_errors, read_task, wait_for_end
from tests.support.waiting import wait_until


def test_a_pending_task_is_done_from_its_new_url_alone(
    api: Api, busy: Stall, source: Origin, picture: bytes
) -> None:
    old, new = (source.serve(f"{make_path()}?signature={n}", picture) for n in (1, 2))
    task = create_task(api, old)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": f"{new}#fragment"}))
    assert (changed["status"], cast("JsonDict", changed["input"])["url"]) == ("pending", new)
    assert str(changed["updated"]) > str(task["updated"])
    busy.released.set()
    file = cast("JsonDict", wait_for_end(api, task)["output"])
    assert file["source"] == new.partition("?")[0]
    assert [count_requests(source, url) for url in (old, new)] == [0, 1]


def test_a_task_that_waits_runs_at_once_with_a_new_url(
    api: Api, source: Origin, picture: bytes
) -> None:
    old = source.serve(make_path(), status=503, headers={"Retry-After": "600"})
    new = source.serve(make_path(), picture)
    task = create_task(api, old, max_attempts=3)
    wait_until(lambda: read_task(api, task)["next_attempt_at"], "a wait for the next attempt", 15)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": new}))
    assert changed["next_attempt_at"] is None
    ended = wait_for_end(api, task)
    assert (ended["status"], list_errors(ended)) == ("complete", ["source_unavailable", None])


def test_a_running_attempt_goes_on_with_its_old_url(
    api: Api, source: Origin, picture: bytes
) -> None:
    stall = Stall(at_bytes=100)
    old = source.serve(make_path(), picture, stall=stall)
    task = create_task(api, old)
    assert stall.reached.wait(15)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": source.url("/nothing")}))
    assert changed["status"] == "processing"
    stall.released.set()
    ended = wait_for_end(api, task)
    assert (ended["status"], list_errors(ended)) == ("complete", [None])
    assert cast("JsonDict", ended["output"])["source"] == old


def test_a_failed_task_is_done_after_a_new_url_and_a_retry(
    api: Api, source: Origin, picture: bytes
) -> None:
    task = create_task(api, source.serve(make_path(), status=403))
    failed = wait_for_failure(api, task, "source_forbidden")
    new = source.serve(make_path(), picture)
    changed = read_object(api.patch(f"/tasks/{task['id']}", {"url": new}))
    assert (changed["status"], changed["error"]) == ("failed", failed["error"])
    retry(api, task)
    ended = wait_for_end(api, task)
    assert (ended["status"], list_errors(ended)) == ("complete", ["source_forbidden", None])


def test_a_complete_task_takes_no_new_url(api: Api, source: Origin, picture: bytes) -> None:
    task = create_task(api, source.serve(make_path(), picture))
    ended = wait_for_end(api, task)
    answer = api.patch(f"/tasks/{task['id']}", {"url": source.url("/other")})
    assert "complete" in str(read_error(answer, 409, "conflict")["message"])
    assert read_task(api, task) == ended
