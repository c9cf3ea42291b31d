"""Requests that wait for the end of a task: for its answer, or for as long as they like.

A wait takes a thread, so there are places for some of them in each process, and who finds none is
answered at once. It hears of the end through Redis, and looks at the row while Redis is away.
"""

from __future__ import annotations

import time
from contextlib import suppress

from api.services import Services
from ingest.errors import DatabaseUnavailable, RedisUnavailable
from ingest.logs import get_logger
from ingest.model import Task
from ingest.states import ENDED
from storage.records import lookups

# How often a wait looks at the row although it was told nothing: a word lost in Redis costs this.
_LOOK_EVERY_S = 15.0
# The same while Redis tells nobody anything.
_POLL_EVERY_S = 0.5


def wait_for_end(services: Services, task: Task, limit_s: float) -> Task:
    """Return a task as it is when it has ended, or when the time is over.

    With all waiting places of this process taken, it is returned as it is.
    """
    deadline = time.monotonic() + limit_s
    if task.status in ENDED or limit_s <= 0:
        return task
    if not services.waiters.acquire(blocking=False):
        get_logger(__name__).info("wait.no_place")
        return task
    try:
        return _wait(services, task, deadline)
    finally:
        services.waiters.release()


def look_again(services: Services, task: Task, within_s: float) -> Task:
    """Return a task as it is a little later, or at once when it has ended.

    For who has a place already.
    """
    return _wait(services, task, time.monotonic() + within_s)


def _wait(services: Services, task: Task, deadline: float) -> Task:
    try:
        with services.signals.listen_for_end(task.id) as wait:
            # What ended before the subscription stood is seen by this look.
            task, looked = _look(services, task), time.monotonic()
            while task.status not in ENDED and (left_s := deadline - time.monotonic()) > 0:
                heard = wait(left_s)
                # Also when the time is over: the answer says how the task is then.
                if heard or time.monotonic() >= min(deadline, looked + _LOOK_EVERY_S):
                    task, looked = _look(services, task), time.monotonic()
    except RedisUnavailable:
        get_logger(__name__).warning("wait.redis_missing", task_id=task.id)
        task = _poll(services, task, deadline)
    return task


def _poll(services: Services, task: Task, deadline: float) -> Task:
    task = _look(services, task)
    while task.status not in ENDED and (left_s := deadline - time.monotonic()) > 0:
        time.sleep(min(left_s, _POLL_EVERY_S))
        task = _look(services, task)
    return task


def _look(services: Services, task: Task) -> Task:
    # The task was promised: without a database it is answered as it was last seen.
    with suppress(DatabaseUnavailable), services.database.look() as connection:
        return lookups.get(connection, task.project_id, task.id) or task
    return task
