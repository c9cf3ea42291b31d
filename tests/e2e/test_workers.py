"""Workers scale sideways: they share the queue, and no task is done twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.client import ApiClient, Task
from cli.local import LocalStack
from tests.support.media import make_media
from tests.support.origin import Origin

FILES = 200
BURST = 64


@pytest.fixture
def second_worker(stack: LocalStack) -> Iterator[str]:
    """A worker more than the session's one."""
    name = stack.add_worker()
    yield name
    stack.stop_child(name)


@pytest.mark.usefixtures("second_worker")
def test_two_workers_share_200_small_files_and_none_is_done_twice(
    client: ApiClient, origin: Origin, media_folder: Path
) -> None:
    picture = make_media("jpeg", media_folder).read_bytes()
    urls = [
        # A trailer after the end of a JPEG changes its checksum and nothing else.
        origin.serve(f"/shared/{number}.jpg", picture + number.to_bytes(2, "big"))
        for number in range(FILES)
    ]

    asked = [client.create_task({"url": url, "ref": "shared"}) for url in urls]
    ended = [client.wait_for_task(task.id, lambda _: None) for task in asked]

    assert [task.status for task in ended] == ["complete"] * FILES
    asked_for = Counter(request.path for request in origin.requests)
    assert {asked_for[f"/shared/{number}.jpg"] for number in range(FILES)} == {1}
    assert {len(_list_workers(task)) for task in ended} == {1}
    assert len({_list_workers(task)[0] for task in ended}) == 2
    checksums = {task.file.checksum for task in ended if task.file is not None}
    assert len(checksums) == FILES


def test_slots_that_are_free_again_are_filled_at_once(
    client: ApiClient, origin: Origin, media_folder: Path
) -> None:
    picture = make_media("jpeg", media_folder).read_bytes()
    url = origin.serve("/burst.jpg", picture)
    began = time.monotonic()
    asked = [client.create_task({"url": url}) for _ in range(BURST)]
    ended = [client.wait_for_task(task.id, lambda _: None) for task in asked]

    assert {task.status for task in ended} == {"complete"}
    # Not eight of them every ten seconds, as Celery's loop has it of itself.
    assert time.monotonic() - began < BURST / 8 * 5


def _list_workers(task: Task) -> list[str]:
    attempts = task.raw["attempts"]
    assert isinstance(attempts, list)
    return [attempt["worker"] for attempt in attempts]
