"""Which requests are let in: those without a body, for a task of the project itself."""

from __future__ import annotations

import pytest

from ingest.ids import Prefix, make_id
from tests.e2e.decisions.steps import cancel
from tests.support.api import Api, read_error
from tests.support.origin import Origin, Stall
from tests.support.tasks import create_task, read_task


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
    task = create_task(api, source.url("/never"))
    before = read_task(api, task)
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
    assert read_task(api, task) == before
    cancel(api, task)
