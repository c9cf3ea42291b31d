"""Tasks on real PostgreSQL: promised once, found by their own project, moved as the table says."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text, update

from ingest.errors import FileExists
from ingest.model import Project
from ingest.states import TRANSITIONS, Status
from storage.records import lookups, tasks
from storage.records.database import Database
from storage.records.tables import tasks as table
from tests.integration.examples import (
    Claim,
    MakeTask,
    complete_task,
    fail_task,
    list_names,
    make_file,
)


def test_a_task_is_found_in_its_own_project_alone(records: Database, make_task: MakeTask) -> None:
    task = make_task("a.mp4")
    with records.transaction() as connection:
        assert lookups.get(connection, task.project_id, task.id) == task
        assert lookups.get(connection, "prj_other", task.id) is None
        assert lookups.get(connection, task.project_id, "task_other") is None


def test_a_task_that_was_never_claimed_has_no_attempt(make_task: MakeTask) -> None:
    task = make_task()
    assert (task.status, task.attempt, task.started) == (Status.PENDING, 0, None)
    assert task.created == task.updated


def test_a_name_is_reserved_for_one_task_at_a_time(
    records: Database, make_task: MakeTask, project: Project
) -> None:
    make_task("a.mp4")
    with pytest.raises(FileExists):
        make_task("a.mp4")
    make_task("b.mp4")
    # The task whose name was refused is not there either.
    with records.transaction() as connection:
        assert connection.execute(text("SELECT count(*) FROM tasks")).scalar_one() == 2


def test_of_many_who_reserve_a_name_at_once_one_gets_it(
    records: Database, make_task: MakeTask
) -> None:
    start = threading.Barrier(8)

    def reserve(_: int) -> bool:
        start.wait(10)
        try:
            make_task("raced.mp4")
        except FileExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(reserve, range(8))).count(True) == 1
    assert list_names(records) == ["prefix/folder/raced.mp4"]


@pytest.mark.parametrize("source", list(Status))
@pytest.mark.parametrize("target", list(Status))
def test_a_move_that_the_table_of_states_does_not_hold_is_not_made(
    source: Status, target: Status, connection: Connection, make_task: MakeTask
) -> None:
    task = make_task()
    connection.execute(update(table).where(table.c.id == task.id).values(status=source))
    moved = tasks.move(connection, task.id, target, values={})
    assert (moved is not None) is (target in TRANSITIONS[source])


def test_tasks_are_counted_by_state(records: Database, make_task: MakeTask, claim: Claim) -> None:
    make_task()
    claim(make_task())
    fail_task(records, claim(make_task()))
    with records.transaction() as connection:
        assert lookups.count_by_status(connection) == {
            Status.PENDING: 1,
            Status.PROCESSING: 1,
            Status.COMPLETE: 0,
            Status.FAILED: 1,
            Status.CANCELLED: 0,
        }


def test_only_what_no_file_and_no_attempt_can_have_is_left_behind(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    pending, running, failed, done = (make_task() for _ in range(4))
    claim(running)
    fail_task(records, claim(failed))
    lease = claim(done)
    complete_task(records, lease)
    key = make_file(lease).object_key
    with records.transaction() as connection:
        left = [
            lookups.is_left_behind(connection, task.file_id, key)
            for task in (pending, running, failed, done)
        ]
        assert left == [False, False, True, False]
        assert lookups.is_left_behind(connection, done.file_id, f"{key}.other") is True
        assert lookups.is_left_behind(connection, "file_unknown", key) is False
