"""A task runs before others."""

from __future__ import annotations

from typing import cast

from tests.e2e.decisions.steps import make_path
from tests.support.api import Api, JsonDict
from tests.support.origin import Origin, Stall
from tests.support.tasks import create_task, wait_for_end


def test_the_higher_its_priority_the_sooner_a_task_runs(
    api: Api, busy: Stall, source: Origin, picture: bytes
) -> None:
    # What the window holds already keeps its place, so it is filled first.
    for _ in range(3):
        create_task(api, source.serve(make_path(), picture), priority=10)
    wanted = [-10, 0, 9, -1, 3]
    made = [
        create_task(api, source.serve(f"{make_path()}/{priority}", picture), priority=priority)
        for priority in wanted
    ]
    urls = [cast("JsonDict", task["input"])["url"] for task in made]
    busy.released.set()
    for task in made:
        assert wait_for_end(api, task)["status"] == "complete"
    asked = [source.url(request.target) for request in source.requests]
    ran = [wanted[urls.index(url)] for url in asked if url in urls]
    assert ran == sorted(wanted, reverse=True)
