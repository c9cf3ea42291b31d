"""What these tests do and see time and again."""

from __future__ import annotations

import secrets
from typing import cast

from tests.support.api import Api, JsonDict, read_object
from tests.support.origin import Origin
from tests.support.tasks import wait_for_end


def make_path() -> str:
    """Return a path at the source that no other test asks for."""
    return f"/actions/{secrets.token_hex(6)}"


def cancel(api: Api, task: JsonDict) -> JsonDict:
    """Cancel a task; return it as it is then."""
    return read_object(api.send("POST", f"/tasks/{task['id']}/cancel"))


def retry(api: Api, task: JsonDict) -> JsonDict:
    """Retry a task; return it as it is then."""
    return read_object(api.send("POST", f"/tasks/{task['id']}/retry"))


def wait_for_failure(api: Api, task: JsonDict, code: str) -> JsonDict:
    """Return a task once it has failed with this error; any other end fails the test."""
    ended = wait_for_end(api, task)
    assert ended["status"] == "failed"
    assert get_code(ended) == code
    return ended


def get_code(task: JsonDict) -> object:
    """Return the code of a task's error."""
    return cast("JsonDict", task["error"])["code"]


def count_requests(source: Origin, url: str) -> int:
    """Return how often a URL was asked for."""
    return sum(source.url(request.target) == url for request in source.requests)
