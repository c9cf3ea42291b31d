"""``/tasks/{id}/cancel`` and ``/tasks/{id}/retry``: what a person decides about a task.

The guarded UPDATE decides whether it may be done; what was read before it only words the answer.
"""

from __future__ import annotations

from contextlib import suppress

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit_bodiless
from api.answers import TaskAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_object
from api.ingests import announce, may_wake, plan_name, show_tasks
from api.services import get_services
from api.tasks import find_task
from ingest.errors import ConflictError, FileExists, RedisUnavailable
from ingest.logs import get_logger
from ingest.states import Status
from storage.records import decisions
from storage.signals import End

blueprint = APIBlueprint("task", __name__, tag="Tasks")
blueprint.before_request(admit_bodiless)

_ANSWERS = {200: TaskAnswer, 404: None, 409: None, 415: None, 422: None, 503: None}


@blueprint.post("/tasks/<task_id>/cancel")
@describe(
    blueprint,
    "Cancel a task",
    "It is cancelled at once and its name is free; a worker that runs it lets go within seconds. "
    "Takes no body. Cancelling it twice does no harm.",
    _ANSWERS,
)
def cancel(task_id: str) -> Response:
    """End an open task; one that was cancelled already is answered as it is."""
    services, project = get_services(), get_project()
    with services.database.transaction() as connection:
        find_task(connection, project, task_id)
        cancelled = decisions.cancel(connection, project.id, task_id)
        task = cancelled or find_task(connection, project, task_id)
    if task.status is not Status.CANCELLED:
        raise ConflictError(
            f"The task is {task.status}; what is pending or processing can be cancelled."
        )
    if cancelled is not None:
        get_logger(__name__).info("task.cancelled", task_id=task.id)
        # Whoever waits for it looks at the row now and then, so a lost word costs only time.
        with suppress(RedisUnavailable):
            services.signals.announce_end(End(task.id))
    return build_object(show_tasks(services, [task])[0], f"/tasks/{task.id}")


@blueprint.post("/tasks/<task_id>/retry")
@describe(
    blueprint,
    "Retry a task that failed or was cancelled",
    "It is pending again with all its attempts before it, and goes on from the parts it had "
    "stored where they still hold. Takes no body.",
    _ANSWERS,
    raises={409: (FileExists,)},
)
def retry(task_id: str) -> Response:
    """Give a task another go under the name it had."""
    services, project = get_services(), get_project()
    room = services.queue.look()
    with services.database.transaction() as connection:
        before = find_task(connection, project, task_id)
        name = plan_name(services, connection, project, before.order)
        # How many of a batch may run is the dispatcher's to know.
        wakes = before.batch_id is None and may_wake(connection, project, room)
        task = decisions.reopen(connection, project.id, task_id, name, woken=wakes)
        if task is None:
            status = find_task(connection, project, task_id).status
            raise ConflictError(
                f"The task is {status}; what failed or was cancelled can be retried."
            )
    get_logger(__name__).info("task.retried", task_id=task.id, woken=wakes)
    announce(services, task.id, room, wakes=wakes)
    return build_object(show_tasks(services, [task])[0], f"/tasks/{task.id}")
