"""Names that change hands while somebody deletes, cancels or orders."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from ingest.ids import Prefix, make_id
from ingest.model import File, IfExists, Limits, Order, Project, Task
from storage.records import batch_loading, completions, decisions, files, names, projects, tasks
from storage.records.batch_loading import PlannedTask
from storage.records.database import Database
from storage.records.tables import names as names_table
from tests.integration.examples import (
    Claim,
    MakeTask,
    complete_task,
    has_waiter,
    list_names,
    make_file,
)
from tests.support.waiting import wait_until

LIMIT_S = 20.0
KEY = "prefix/folder/a"
ORDER = Order("http://source.invalid/b", "folder", "a", None, None, None, None, overwrites=True)


@pytest.fixture
def file(records: Database, make_task: MakeTask, claim: Claim) -> File:
    """A file that has a name."""
    lease = claim(make_task("a"))
    assert complete_task(records, lease)
    return make_file(lease)


def _overwrite(connection: Connection, project: Project) -> Task:
    return tasks.create(
        connection, project, ORDER, object_key=KEY, max_attempts=5, request_id="req_tests",
        woken=False,
    )  # fmt: skip


@pytest.fixture
def overwriting(records: Database, project: Project, file: File) -> Task:
    """A task that is to take the name over."""
    with records.transaction() as connection:
        return _overwrite(connection, project)


@pytest.fixture
def wait_for_waiter(records: Database) -> Callable[[], None]:
    """Waits until some transaction waits for a lock of another."""

    def wait() -> None:
        wait_until(lambda: has_waiter(records), "a transaction that waits", LIMIT_S)

    return wait


def _remove(records: Database, file: File) -> None:
    with records.transaction() as connection:
        assert files.remove(connection, file.project_id, file.id) is not None


def _read_holders(records: Database) -> dict[str, tuple[str, str | None]]:
    with records.transaction() as connection:
        rows = connection.execute(select(names_table)).all()
    return {row.object_key: (row.task_id, row.next_task_id) for row in rows}


def test_a_name_is_free_where_its_file_is_deleted_as_the_task_that_waits_is_cancelled(
    records: Database, file: File, overwriting: Task, wait_for_waiter: Callable[[], None]
) -> None:
    def cancel() -> None:
        with records.transaction() as connection:
            assert decisions.cancel(connection, overwriting.project_id, overwriting.id)

    with ThreadPoolExecutor(1) as pool:
        with records.transaction() as connection:
            # As DELETE /files does, which then deletes the object and commits.
            assert files.remove(connection, file.project_id, file.id) is not None
            cancelled = pool.submit(cancel)
            wait_for_waiter()
        cancelled.result(LIMIT_S)

    assert list_names(records) == []


def test_a_task_that_is_ordered_while_the_file_is_deleted_has_the_name(
    records: Database,
    project: Project,
    file: File,
    wait_for_waiter: Callable[[], None],
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with records.transaction() as connection:
            task = _overwrite(connection, project)
            removed = pool.submit(_remove, records, file)
            wait_for_waiter()
        removed.result(LIMIT_S)

    assert _read_holders(records) == {KEY: (task.id, None)}


def test_a_row_of_a_batch_that_is_loaded_while_the_file_is_deleted_has_the_name(
    records: Database,
    project: Project,
    file: File,
    wait_for_waiter: Callable[[], None],
) -> None:
    batch_id = make_id(Prefix.BATCH)
    row = PlannedTask(1, ORDER, "source.invalid", None, 5, KEY, IfExists.OVERWRITE)
    with ThreadPoolExecutor(1) as pool:
        with records.transaction() as connection:
            ids = {row.line: make_id(Prefix.TASK)}
            taken = batch_loading.load(connection, project.id, batch_id, "req_tests", [row], ids)
            assert not taken
            removed = pool.submit(_remove, records, file)
            wait_for_waiter()
        removed.result(LIMIT_S)

    assert list_names(records) == [KEY]


def test_a_file_that_is_deleted_as_it_is_overwritten_makes_nobody_wait_in_a_ring(
    records: Database,
    file: File,
    overwriting: Task,
    claim: Claim,
    monkeypatch: pytest.MonkeyPatch,
    wait_for_waiter: Callable[[], None],
) -> None:
    lease = claim(overwriting)
    assert lease.replaces
    made = replace(
        make_file(lease), object_key=KEY, lies_at=f"prefix/folder/{overwriting.file_id}.mp4"
    )
    give_up = names.give_up
    came, goes_on = threading.Event(), threading.Event()
    deleter: list[int] = []

    def hold(connection: Connection, task_id: str, *, is_moving: bool) -> None:
        if threading.get_ident() in deleter:
            came.set()
            assert goes_on.wait(LIMIT_S)
        give_up(connection, task_id, is_moving=is_moving)

    monkeypatch.setattr(names, "give_up", hold)

    def remove() -> None:
        deleter.append(threading.get_ident())
        _remove(records, file)

    def complete() -> completions.Completion:
        with records.transaction() as connection:
            return completions.complete(connection, lease, made, 10)

    with ThreadPoolExecutor(2) as pool:
        removed = pool.submit(remove)
        assert came.wait(LIMIT_S)
        completed = pool.submit(complete)
        wait_for_waiter()
        goes_on.set()
        removed.result(LIMIT_S)
        assert completed.result(LIMIT_S) is not completions.Completion.LEASE_LOST

    assert _read_holders(records)[KEY] == (overwriting.id, None)


def test_what_a_file_that_is_overwritten_gives_back_is_room_for_the_new_one(
    records: Database, project: Project, file: File, overwriting: Task, claim: Claim
) -> None:
    with records.transaction() as connection:
        projects.set_limits(connection, project.id, Limits(None, 15))
    lease = claim(overwriting)
    # 10 of 15 bytes are stored, and those are what goes.
    assert lease.room_bytes == 15
