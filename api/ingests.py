"""Making a task and showing it: what ``/tasks`` and ``/files`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from flask import g
from sqlalchemy import Connection

from api.envelope import make_link
from api.idempotency import find_made, note_made
from api.queue import Room
from api.receivers import ensure_project_secret
from api.services import Services
from ingest.errors import DatabaseUnavailable, FileExists, QuotaExceeded, RedisUnavailable
from ingest.ids import Prefix
from ingest.logs import get_logger
from ingest.model import Attempt, File, IfExists, Order, Project, Task, Transfer
from ingest.naming import make_key
from ingest.resources import FileResource, TaskResource, show_file, show_task
from ingest.signed_urls import find_expiry
from ingest.states import Status
from ingest.urls import parse_stored_url
from storage.records import files, lookups, media, names, projects, tasks, wakeups

# How often somebody else may be quicker.
_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Ordered:
    """A task that was asked for; ``was_there``: the one that has the name already."""

    task: Task
    was_there: bool = False


def create_task(
    services: Services,
    project: Project,
    order: Order,
    *,
    max_attempts: int | None = None,
    if_exists: IfExists = IfExists.ERROR,
    file_id: str | None = None,
) -> Ordered:
    """Commit a task, then wake a worker if none waits before it, or nudge the dispatcher.

    A task that this request has made before (:mod:`api.idempotency`) is returned as it is.

    Args:
        max_attempts: None for the number in the settings.
        file_id: that of the file it is to make; None for a new one.

    Raises:
        FileExists: the name is taken, and that is not to be helped.
        QuotaExceeded: the project stores as much as it may.
        FieldInvalid: folder and filename make a key that is too long, in another's place or where a
            connection reads; no connection of the project reads the URL; or the media is none.
        ConflictError: another request with its Idempotency-Key was quicker.
        DatabaseUnavailable: nothing was promised.
    """
    made = find_made(Prefix.TASK)
    if made is not None:
        with services.database.transaction() as connection:
            before = lookups.get(connection, project.id, made)
        if before is not None:
            return Ordered(before)
    for _ in range(_MOST_NAMES):
        try:
            return Ordered(_create(services, project, order, max_attempts, file_id))
        except FileExists as error:
            if if_exists in {IfExists.ERROR, IfExists.OVERWRITE} or order.filename is None:
                raise
            taken = error
        # Whoever has the name may be gone meanwhile, and who takes the next one be quicker.
        with services.database.transaction() as connection:
            if if_exists is IfExists.SKIP:
                there = find_there(connection, project, order.folder, str(order.filename))
                if there is not None:
                    return Ordered(there, was_there=True)
            else:
                free = names.list_free(connection, project, order.folder, order.filename, 1)
                if not free:
                    raise taken
                order = replace(order, filename=free[0])
    raise taken


def find_there(
    connection: Connection, project: Project, folder: str | None, filename: str
) -> Task | None:
    """Return the task that has a name, or whose file has it; None if nobody has."""
    key = make_key(project.key_prefix, folder, filename)
    holder = names.find_holder(connection, project.id, key)
    return None if holder is None else lookups.get(connection, project.id, holder)


def _create(
    services: Services,
    project: Project,
    order: Order,
    max_attempts: int | None,
    file_id: str | None,
) -> Task:
    # What is overwritten gives room; how much, a worker sees.
    if g.access.is_full and not order.overwrites:
        raise QuotaExceeded("The project stores as much as it may. Delete files, or ask for more.")
    services.planner.check_connection(project, parse_stored_url(order.url))
    room = services.queue.look()
    is_more = order.filename or order.media_id or order.webhook_url or g.get("idempotency_key")
    # Without any of that, what makes the task is one statement, and so a transaction by itself.
    with (services.database.transaction if is_more else services.database.look)() as connection:
        if order.media_id is not None and not media.is_known(
            connection, project.id, order.media_id
        ):
            raise media.say_unknown()
        wakes = may_wake(connection, project, room)
        if order.webhook_url is not None:
            ensure_project_secret(services, connection, project)
        task = tasks.create(
            connection,
            project,
            order,
            object_key=plan_name(services, connection, project, order),
            max_attempts=max_attempts or services.settings.max_attempts,
            request_id=g.request_id,
            woken=wakes,
            url_expires=find_expiry(order.url),
            file_id=file_id,
        )
        note_made(connection, task.id)
    get_logger(__name__).info("task.created", task_id=task.id, woken=wakes)
    announce(services, task.id, room, wakes=wakes)
    return task


def plan_name(
    services: Services, connection: Connection, project: Project, order: Order
) -> str | None:
    """Return the key to be reserved for an order; None where the file is named by its id.

    Raises:
        FieldInvalid: as for :func:`create_task`.
    """
    return services.planner.plan_name(project, order, find_places(connection, project))


def find_places(connection: Connection, project: Project) -> Callable[[str], bool]:
    """Return what says whether a key lies in the place of another project."""
    # Prefixes never nest, so only what begins with none can be in another's place.
    return lambda key: (
        not project.key_prefix and projects.is_place_of_another(connection, project.id, key)
    )


def may_wake(connection: Connection, project: Project, room: Room) -> bool:
    """Return whether a task that becomes ready now may be woken past the dispatcher."""
    return room is Room.FREE and not wakeups.must_wait(connection, project.id)


def announce(services: Services, task_id: str, room: Room, *, wakes: bool) -> None:
    """Tell, after the commit, that a task is ready.

    Args:
        room: as it was before the transaction.
        wakes: what :func:`may_wake` said; the task was noted as woken then.
    """
    if wakes and not services.queue.wake(task_id):
        # If even this fails, the dispatcher sends it after `resend_after_s`.
        with suppress(DatabaseUnavailable), services.database.transaction() as connection:
            wakeups.note_unwoken(connection, [task_id])
    if not wakes and room is not Room.UNKNOWN:
        services.queue.nudge()


def show_tasks(
    services: Services,
    found: Sequence[Task],
    tried: Mapping[str, Sequence[Attempt]] | None = None,
) -> list[TaskResource]:
    """Return Task objects with their attempts, progress and outputs, in three look-ups for all.

    Args:
        tried: the attempts by task id, where they are known already.
    """
    begun = [task.id for task in found if task.attempt] if tried is None else []
    complete = [task.output_id for task in found if task.status is Status.COMPLETE]
    running = [task.id for task in found if task.status is Status.PROCESSING]
    attempts = tried or {}
    outputs: Mapping[str, File] = {}
    if begun or complete:
        with services.database.look() as connection:
            attempts = lookups.list_attempts(connection, begun) if begun else attempts
            outputs = files.get_many(connection, complete) if complete else {}
    transfers = _read_progress(services, running)
    return [
        show_task(
            task,
            # The attempts are read after the task, which may have been claimed in between.
            [one for one in attempts.get(task.id, ()) if one.number <= task.attempt],
            transfers.get(task.id),
            _show_output(services, task, outputs),
        )
        for task in found
    ]


def _show_output(
    services: Services, task: Task, outputs: Mapping[str, File]
) -> FileResource | None:
    found = outputs.get(task.output_id) if task.status is Status.COMPLETE else None
    return None if found is None else show(services, found)


def show(services: Services, file: File) -> FileResource:
    """Return a File object with the delivery address this API gives out."""
    return show_file(file, make_link("/delivery"), services.settings.delivery_url)


def _read_progress(services: Services, task_ids: Sequence[str]) -> Mapping[str, Transfer]:
    try:
        return services.signals.read_progress(task_ids)
    except RedisUnavailable:
        return {}
