"""Tasks as their owner follows them through the API, from the order to the end."""

from __future__ import annotations

from typing import cast

from tests.support.api import Api, JsonDict, read_object
from tests.support.waiting import wait_until

_ENDED = {"complete", "failed", "cancelled"}


def create_task(api: Api, url: str, **more: object) -> JsonDict:
    """Order an ingest; ``more`` are further fields of the request."""
    return read_object(api.post("/tasks", {"kind": "ingest", "url": url, **more}), 201)


def read_task(api: Api, task: JsonDict) -> JsonDict:
    """Return a task as it stands now."""
    return read_object(api.get(f"/tasks/{task['id']}"))


def wait_for_end(api: Api, task: JsonDict, timeout_s: float = 20) -> JsonDict:
    """Return a task once nothing more will happen to it."""

    def look() -> JsonDict | None:
        found = read_task(api, task)
        return found if found["status"] in _ENDED else None

    return wait_until(look, "the end of a task", timeout_s)


def list_errors(task: JsonDict) -> list[object]:
    """Return the code of each attempt's error, or None."""
    attempts = cast("list[JsonDict]", task["attempts"])
    assert [attempt["number"] for attempt in attempts] == list(range(1, len(attempts) + 1))
    errors = [cast("JsonDict | None", attempt["error"]) for attempt in attempts]
    return [None if error is None else error["code"] for error in errors]
