"""``/tasks/{id}/events``: a task's way to its end, as server-sent events.

(https://html.spec.whatwg.org/multipage/server-sent-events.html) Each event is the whole Task, so
one that is missed is missed by nobody. Invariants: a stream ends with the task, or after some
minutes, and a browser that comes again goes on; one that has seen the end is told not to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from apiflask import APIBlueprint
from flask import Response, request, stream_with_context

from api.admission import admit
from api.auth import get_project
from api.documents import describe
from api.ingests import show_tasks
from api.services import Services, get_services
from api.tasks import find_task
from api.waiting import look_again
from ingest.model import Task
from ingest.states import ENDED

blueprint = APIBlueprint("task_events", __name__, tag="Tasks")
blueprint.before_request(admit)

_LONGEST_S = 300.0
_LOOK_EVERY_S = 1.0
_RETRY_MS = 3000


@blueprint.get("/tasks/<task_id>/events")
@describe(
    blueprint,
    "Follow a task",
    "Server-sent events: a `task` with the Task as its data, now and at each change, until it has "
    "ended. 204 to a client that has seen the end (`Last-Event-ID`).",
    {200: None, 204: None, 404: None},
    stream="text/event-stream",
)
def follow(task_id: str) -> Response | tuple[str, int]:
    """Stream a task."""
    services = get_services()
    with services.database.transaction() as connection:
        task = find_task(connection, get_project(), task_id)
    if task.status in ENDED and request.headers.get("Last-Event-ID") == _name_end(task):
        return "", 204
    events = stream_with_context(_follow(services, task))
    response = Response(events, content_type="text/event-stream")
    # Else nginx keeps it back.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _follow(services: Services, task: Task) -> Iterator[str]:
    yield f"retry: {_RETRY_MS}\n\n"
    has_place = services.waiters.acquire(blocking=False)
    try:
        # Without a place it is told once, and the client comes again.
        yield from _tell(services, task, _LONGEST_S if has_place else 0.0)
    finally:
        if has_place:
            services.waiters.release()


def _tell(services: Services, task: Task, limit_s: float) -> Iterator[str]:
    ends = time.monotonic() + limit_s
    told = ""
    while True:
        text = show_tasks(services, [task])[0].model_dump_json()
        if text != told:
            name = f"id: {_name_end(task)}\n" if task.status in ENDED else ""
            yield f"{name}event: task\ndata: {text}\n\n"
            told = text
        else:
            # Only who writes learns that nobody listens any more, and frees the place.
            yield ":\n\n"
        if task.status in ENDED or time.monotonic() >= ends:
            return
        task = look_again(services, task, _LOOK_EVERY_S)


def _name_end(task: Task) -> str:
    """Return the id of the last event of a task, which it has until somebody retries it."""
    return f"{task.id}.{task.attempt}.{task.status}"
