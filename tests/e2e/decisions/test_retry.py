"""A task that failed or was cancelled has another go: the same task, done once."""

from __future__ import annotations

import secrets
from typing import cast

from tests.e2e.decisions.steps import cancel, count_requests, make_path, retry, wait_for_failure
from tests.support.api import Api, JsonDict, read_error, read_list
from tests.support.origin import Origin, Reply, Stall
from tests.support.tasks import create_task, list_errors, read_task, wait_for_end


def test_a_failed_task_is_retried_under_the_same_ids(
    api: Api, source: Origin, picture: bytes
) -> None:
    url = source.route(make_path(), Reply(status=404), Reply(body=picture))
    name = f"{secrets.token_hex(4)}.jpg"
    task = create_task(api, url, folder="retried", filename=name)
    failed = wait_for_failure(api, task, "source_not_found")
    retried = retry(api, task)

    assert (retried["id"], retried["status"], retried["error"]) == (task["id"], "pending", None)
    assert retried["finished"] is retried["next_attempt_at"] is None
    assert retried["attempts"] == failed["attempts"]
    ended = wait_for_end(api, task)
    assert ended["status"] == "complete"
    assert list_errors(ended) == ["source_not_found", None]
    assert cast("JsonDict", ended["output"])["filename"] == name


def test_a_retried_task_has_all_its_attempts_again(api: Api, source: Origin) -> None:
    url = source.serve(make_path(), status=503)
    task = create_task(api, url, max_attempts=2)
    wait_for_failure(api, task, "source_unavailable")
    retry(api, task)
    failed = wait_for_failure(api, task, "source_unavailable")
    assert len(list_errors(failed)) == count_requests(source, url) == 4


def test_a_cancelled_task_is_retried(api: Api, busy: Stall, source: Origin, picture: bytes) -> None:
    task = create_task(api, source.serve(make_path(), picture), filename="second-thoughts.jpg")
    cancel(api, task)
    assert retry(api, task)["status"] == "pending"
    busy.released.set()
    ended = wait_for_end(api, task)
    assert (ended["status"], list_errors(ended)) == ("complete", [None])


def test_a_task_that_is_cancelled_while_it_runs_and_retried_at_once_is_done_once(
    api: Api, source: Origin, picture: bytes
) -> None:
    stall = Stall(at_bytes=100)
    other = picture + b"second"
    url = source.route(make_path(), Reply(body=picture, stall=stall), Reply(body=other))
    ref = secrets.token_hex(4)
    task = create_task(api, url, ref=ref)
    assert stall.reached.wait(15)
    cancel(api, task)
    retry(api, task)

    ended = wait_for_end(api, task)
    stall.released.set()
    assert (ended["status"], list_errors(ended)) == ("complete", ["cancelled", None])
    files, _, _ = read_list(api.get(f"/files?ref={ref}"))
    assert [file["filesize"] for file in files] == [len(other)]


def test_a_task_whose_name_was_taken_meanwhile_is_not_retried(
    api: Api, source: Origin, picture: bytes
) -> None:
    order = {"folder": "retried", "filename": f"{secrets.token_hex(4)}.jpg"}
    task = create_task(api, source.url("/nothing"), **order)
    failed = wait_for_failure(api, task, "source_not_found")
    other = create_task(api, source.serve(make_path(), picture), **order)
    error = read_error(api.send("POST", f"/tasks/{task['id']}/retry"), 409, "file_exists")
    assert error["param"] == "filename"
    assert read_task(api, task) == failed

    file = cast("JsonDict", wait_for_end(api, other)["output"])
    read_error(api.send("POST", f"/tasks/{task['id']}/retry"), 409, "file_exists")
    assert api.delete(f"/files/{file['id']}").status_code == 200
    assert retry(api, task)["status"] == "pending"
    wait_for_failure(api, task, "source_not_found")


def test_what_is_not_over_or_complete_is_not_retried(
    api: Api, busy: Stall, source: Origin, picture: bytes
) -> None:
    pending = create_task(api, source.serve(make_path(), picture))
    ((running,), _, _) = read_list(api.get("/tasks?status=processing"))

    def refuse(task: JsonDict, state: str) -> None:
        before = read_task(api, task)
        error = read_error(api.send("POST", f"/tasks/{task['id']}/retry"), 409, "conflict")
        assert state in str(error["message"])
        assert {**read_task(api, task), "transfer": None} == {**before, "transfer": None}

    refuse(pending, "pending")
    refuse(running, "processing")
    busy.released.set()
    wait_for_end(api, pending)
    refuse(pending, "complete")
