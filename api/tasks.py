"""``/tasks``: ingests that somebody will ask about later."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import Connection

from api.admission import admit_to_task
from api.answers import TaskAnswer, TaskListAnswer
from api.auth import get_project, get_task
from api.documents import describe
from api.envelope import build_list, build_object, make_link
from api.ingests import create_task, show_tasks
from api.schemas import TaskChange, TaskListing, TaskQuery, TaskRequest
from api.services import get_services
from api.waiting import wait_for_end
from ingest.errors import ConflictError, FileExists, NotFound, QuotaExceeded
from ingest.ids import Prefix, is_id
from ingest.logs import get_logger
from ingest.model import IfExists, Project, Task
from ingest.signed_urls import find_expiry
from ingest.states import Status
from ingest.urls import parse_order_url
from storage.records import decisions, lookups

_NO_TASK = "There is no such task in this project."

blueprint = APIBlueprint("tasks", __name__, tag="Tasks")
blueprint.before_request(admit_to_task)


@blueprint.post("/tasks")
@blueprint.input(TaskRequest, arg_name="asked")
@describe(
    blueprint,
    "Create an ingest task",
    "Answers at once; read the task again for progress, or use `POST /files` to wait.",
    {200: TaskAnswer, 201: TaskAnswer, 400: None, 409: None, 413: None, 415: None, 422: None,
     503: None},
    raises={403: (QuotaExceeded,), 409: (FileExists,)},
)  # fmt: skip
def create(asked: TaskRequest) -> Response:
    """Write the task down and answer with it."""
    services = get_services()
    order = services.planner.make_order(asked)
    ordered = create_task(
        services,
        get_project(),
        order,
        max_attempts=asked.max_attempts,
        if_exists=asked.if_exists or IfExists.ERROR,
    )
    path, status = f"/tasks/{ordered.task.id}", 200 if ordered.was_there else 201
    shown = show_tasks(services, [ordered.task])[0]
    return build_object(shown, path, status, {"Location": make_link(path)})


@blueprint.get("/tasks/<task_id>")
@blueprint.input(TaskQuery, location="query", arg_name="asked")
@describe(
    blueprint,
    "Get a task",
    "With its attempts, its progress and, once complete, its file. With `wait` the answer comes "
    "when the task has ended, or after so many seconds.",
    {200: TaskAnswer, 404: None, 422: None},
)
def read(task_id: str, asked: TaskQuery) -> Response:
    """Answer with one task, at its end if that is asked for."""
    del task_id
    services, found = get_services(), get_task()
    if found is None:
        raise NotFound(_NO_TASK)
    task = wait_for_end(services, found.task, min(asked.wait, services.settings.sync_timeout_s))
    # Attempts that were read before the wait are not those of the task after it.
    tried = {task.id: found.attempts} if task is found.task else None
    return build_object(show_tasks(services, [task], tried)[0], f"/tasks/{task.id}")


@blueprint.patch("/tasks/<task_id>")
@blueprint.input(TaskChange, arg_name="asked")
@describe(
    blueprint,
    "Change a task's URL",
    "A fresh signed URL for the same media. One that waits runs at once; an attempt that runs goes "
    "on with the old URL; one that failed is to be retried afterwards.",
    {200: TaskAnswer, 400: None, 404: None, 409: None, 413: None, 415: None, 422: None,
     503: None},
)  # fmt: skip
def change(task_id: str, asked: TaskChange) -> Response:
    """Let the next attempt fetch from another URL."""
    services, project = get_services(), get_project()
    services.planner.check_connection(project, parse_order_url(asked.url))
    with services.database.transaction() as connection:
        before = find_task(connection, project, task_id).order
        task = decisions.change_url(
            connection,
            project.id,
            task_id,
            asked.url,
            find_expiry(asked.url),
            services.planner.change_headers(
                before, asked.url, asked.headers, are_given="headers" in asked.model_fields_set
            ),
        )
    if task is None:
        raise ConflictError("The task is complete; there is nothing left to fetch.")
    get_logger(__name__).info("task.changed", task_id=task.id)
    if task.status is Status.PENDING:
        services.queue.nudge()
    return build_object(show_tasks(services, [task])[0], f"/tasks/{task.id}")


@blueprint.get("/tasks")
@blueprint.input(TaskListing, location="query", arg_name="asked")
@describe(blueprint, "List tasks", "Newest first.", {200: TaskListAnswer, 422: None})
def list_all(asked: TaskListing) -> Response:
    """Answer with one page of tasks."""
    services = get_services()
    narrowed = lookups.TaskFilter(
        status=asked.status,
        kind=asked.kind,
        ref=asked.ref,
        created_from=asked.created_from,
        created_until=asked.created_until,
        batch_id=asked.batch_id,
    )
    window = asked.to_window()
    with services.database.transaction() as connection:
        page = lookups.list_page(connection, get_project().id, narrowed, window)
    ids = [task.id for task in page.items]
    return build_list(show_tasks(services, page.items), page, window, ids)


def find_task(connection: Connection, project: Project, task_id: str) -> Task:
    """Return a project's task.

    Raises:
        NotFound: it has no such task, or this is no task's id.
    """
    task = None
    if is_id(Prefix.TASK, task_id):
        task = lookups.get(connection, project.id, task_id)
    if task is None:
        raise NotFound(_NO_TASK)
    return task
