"""Limits of a project as its users meet them: how many tasks run at once, how much is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.model import Limits, Project
from storage.objects.s3 import S3ObjectStore
from storage.records import projects
from storage.records.database import Database
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.origin import Generated, Origin, Stall
from tests.support.padding import pad_mp4
from tests.support.projects import make_project
from tests.support.tasks import create_task, read_task, wait_for_end
from tests.support.waiting import wait_until

Limit = Callable[[Project, Limits], None]
MakeTenant = Callable[[Limits], tuple[Api, Project]]


@pytest.fixture
def limit(database: Database) -> Limit:
    """Sets a project's limits."""

    def set_limits(project: Project, limits: Limits) -> None:
        with database.transaction() as connection:
            projects.set_limits(connection, project.id, limits)

    return set_limits


@pytest.fixture
def tenant(stack: LocalStack, database: Database) -> Iterator[MakeTenant]:
    """Makes a project with limits, and a key of it."""
    with ExitStack() as held:

        def make(limits: Limits) -> tuple[Api, Project]:
            project, secret = make_project(database, limits=limits)
            return held.enter_context(Api(stack.api_url, secret)), project

        yield make


def _read_usage(api: Api) -> JsonDict:
    return cast("JsonDict", read_object(api.get("/project"))["usage"])


def _read_stored(api: Api) -> tuple[object, object]:
    usage = _read_usage(api)
    return usage["files"], usage["stored_bytes"]


def test_a_project_that_is_full_is_told_so_before_during_and_after(
    tenant: MakeTenant,
    limit: Limit,
    store: S3ObjectStore,
    origin: Origin,
    picture: bytes,
    picture_url: str,
) -> None:
    size = len(picture)
    api, project = tenant(Limits(max_stored_bytes=size + 1))
    shown = read_object(api.get("/project"))
    assert (shown["id"], shown["name"], shown["prefix"]) == (
        project.id,
        project.name,
        project.key_prefix,
    )
    assert shown["limits"] == {"running": None, "stored_bytes": size + 1}
    assert shown["usage"] == {"running": 0, "pending": 0, "files": 0, "stored_bytes": 0}
    first = read_object(api.post("/files", {"url": picture_url}), 201)
    assert _read_stored(api) == (1, size)
    # One byte is left: what comes is refused as soon as it is seen to be longer.
    order = {"url": picture_url, "folder": "late", "filename": "a.jpg"}
    failed = read_error(api.post("/files", order), 422, "quota_exceeded")
    assert (failed["retryable"], failed["param"]) == (False, None)
    assert store.describe(f"{project.key_prefix}/late/a.jpg") is None
    long = origin.serve("/limits/long.mp4", Generated(200 * 1024**2, head=b"\0\0\0\x14ftypisom"))
    read_error(api.post("/files", {"url": long}), 422, "quota_exceeded")
    assert origin.sent_bytes("/limits/long.mp4") < 50 * 1024**2
    # None is left: nothing is taken any more.
    limit(project, Limits(max_stored_bytes=size))
    for path, body in (("/files", order), ("/tasks", {**order, "kind": "ingest"})):
        read_error(api.post(path, body), 403, "quota_exceeded")
    assert read_list(api.get("/tasks?status=pending"))[1]["total"] == 0
    assert api.delete(f"/files/{first['id']}").status_code == 200
    assert _read_stored(api) == (0, 0)
    # What failed for it goes on where there is room again.
    done = read_object(api.send("POST", f"/tasks/{failed['task_id']}/retry"))
    assert wait_for_end(api, done)["status"] == "complete"
    assert _read_stored(api) == (1, size)


@pytest.mark.parametrize("size_bytes", [None, 24 * 1024**2], ids=["one piece", "parts"])
def test_of_two_that_run_and_do_not_both_fit_one_fails_and_leaves_nothing(
    size_bytes: int | None,
    tenant: MakeTenant,
    store: S3ObjectStore,
    origin: Origin,
    picture: bytes,
    video: bytes,
) -> None:
    body = video if size_bytes is None else pad_mp4(video, size_bytes)
    size_bytes = size_bytes or len(video)
    # Either would fit, as far as anybody knows when they begin.
    api, project = tenant(Limits(max_stored_bytes=size_bytes + len(picture) - 1))
    stall = Stall(at_bytes=size_bytes - 100)
    late = {
        "kind": "ingest",
        "url": origin.serve(f"/limits/late-{size_bytes}.mp4", body, stall=stall),
        "filename": "late.mp4",
    }
    task = read_object(api.post("/tasks", late), 201)
    assert stall.reached.wait(10)
    first = origin.serve("/limits/first.jpg", picture)
    read_object(api.post("/files", {"url": first, "filename": "first.jpg"}), 201)
    stall.released.set()
    failed = wait_for_end(api, task)
    error = cast("JsonDict", failed["error"])
    assert (error["code"], error["retryable"]) == ("quota_exceeded", False)
    assert _read_stored(api) == (1, len(picture))
    prefix = f"{project.key_prefix}/"
    assert list(store.list_keys(prefix)) == [f"{prefix}first.jpg"]
    assert list(store.list_uploads(prefix)) == []


def test_no_more_of_a_project_run_at_once_than_may_and_others_run_beside(
    tenant: MakeTenant, api: Api, origin: Origin, picture: bytes
) -> None:
    limited, _ = tenant(Limits(max_running=1))
    stalls = [Stall(at_bytes=len(picture) // 2) for _ in range(3)]
    urls = [
        origin.serve(f"/limits/{number}.jpg", picture, stall=stall)
        for number, stall in enumerate(stalls)
    ]
    tasks = [create_task(limited, url) for url in urls]
    # Whichever is claimed first: all three were woken.
    running = _wait_for_one(stalls)
    # Others are not in its way, nor it in theirs.
    other = create_task(api, origin.serve("/limits/other.jpg", picture))
    assert wait_for_end(api, other)["status"] == "complete"
    assert [read_task(limited, task)["status"] for task in tasks].count("processing") == 1
    usage = _read_usage(limited)
    assert (usage["running"], usage["pending"], usage["stored_bytes"]) == (1, 2, 0)
    waiting = list(stalls)
    while waiting:
        assert sum(one.reached.is_set() for one in waiting) == 1
        running.released.set()
        waiting.remove(running)
        if waiting:
            running = _wait_for_one(waiting)
    assert {wait_for_end(limited, task)["status"] for task in tasks} == {"complete"}


def _wait_for_one(stalls: Sequence[Stall]) -> Stall:
    """Return the first of some sources that a task has come to."""

    def look() -> Stall | None:
        return next((one for one in stalls if one.reached.is_set()), None)

    return wait_until(look, "a task to run", 15)
