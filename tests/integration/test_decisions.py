"""What people decide about tasks, on real PostgreSQL: cancelled, reopened, sent to another URL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from ingest.errors import FileExists
from ingest.model import Lease, Task
from ingest.states import Status
from storage.records import decisions, files, leases
from storage.records.database import Database
from tests.integration.examples import (
    Claim,
    MakeTask,
    cancel_task,
    complete_task,
    fail_task,
    list_attempts,
    list_names,
    read_columns,
    read_task,
    release_expired,
    retry_later,
    try_claim,
)


def _reopen(
    records: Database, task: Task, object_key: str | None = None, project_id: str | None = None
) -> Task | None:
    with records.transaction() as connection:
        return decisions.reopen(
            connection, project_id or task.project_id, task.id, object_key, woken=False
        )


def _change_url(
    records: Database,
    task: Task,
    url: str,
    expires: datetime | None = None,
    sealed_headers: bytes | None = None,
) -> Task | None:
    with records.transaction() as connection:
        return decisions.change_url(
            connection, task.project_id, task.id, url, expires, sealed_headers
        )


def _bring_to(status: Status, records: Database, task: Task, claim: Claim) -> None:
    """Bring a pending task into a state by the moves that lead there."""
    if status is Status.CANCELLED:
        assert cancel_task(records, task)
    elif status is not Status.PENDING:
        lease = claim(task)
        if status is Status.COMPLETE:
            assert complete_task(records, lease)
        elif status is Status.FAILED:
            assert fail_task(records, lease)


@pytest.mark.parametrize("waits", [False, True])
def test_cancelling_a_pending_task_ends_it_and_frees_its_name(
    waits: bool,  # noqa: FBT001
    records: Database,
    make_task: MakeTask,
    claim: Claim,
) -> None:
    task = make_task("a.mp4", woken=True)
    if waits:
        assert retry_later(records, claim(task))
    cancelled = cancel_task(records, task)

    assert cancelled == read_task(records, task)
    assert cancelled is not None
    assert (cancelled.status, cancelled.next_attempt_at) == (Status.CANCELLED, None)
    assert cancelled.error is not None
    assert (cancelled.error.code, cancelled.error.retryable) == ("cancelled", False)
    assert cancelled.finished is not None
    assert list_names(records) == []
    assert try_claim(records, task) is None
    make_task("a.mp4")


def test_cancelling_a_running_task_ends_its_attempt_and_its_worker_writes_nothing_more(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    cancelled = cancel_task(records, task)
    assert cancelled is not None

    with records.transaction() as connection:
        assert leases.extend_leases(connection, [(task.id, lease.attempt)], 60) == frozenset()
    assert not complete_task(records, lease)
    assert not fail_task(records, lease)
    assert not retry_later(records, lease)
    assert release_expired(records) == {}
    assert read_task(records, task) == cancelled
    (attempt,) = list_attempts(records, task)
    with records.transaction() as connection:
        assert files.get(connection, task.project_id, task.file_id) is None
    assert (attempt.error, attempt.finished) == (cancelled.error, cancelled.finished)
    assert list_names(records) == []


@pytest.mark.parametrize("status", [Status.COMPLETE, Status.FAILED, Status.CANCELLED])
def test_what_has_ended_is_not_cancelled(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    _bring_to(status, records, task, claim)
    ended = read_task(records, task)
    assert cancel_task(records, task) is None
    assert read_task(records, task) == ended


def test_of_a_cancel_and_an_end_at_once_one_wins(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    for _ in range(10):
        task = make_task()
        lease = claim(task)
        start = threading.Barrier(2)

        def cancel(task: Task = task, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return cancel_task(records, task) is not None

        def complete(lease: Lease = lease, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return complete_task(records, lease)

        with ThreadPoolExecutor(2) as pool:
            cancelled, completed = pool.submit(cancel), pool.submit(complete)
            assert cancelled.result() is not completed.result()
        wanted = Status.CANCELLED if cancelled.result() else Status.COMPLETE
        assert read_task(records, task).status is wanted
        with records.transaction() as connection:
            file = files.get(connection, task.project_id, task.file_id)
        assert (file is not None) is completed.result()


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_task_gets_another_go_with_its_name_and_all_its_attempts(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    key = "prefix/folder/a.mp4"
    task = make_task("a.mp4", max_attempts=2)
    assert retry_later(records, claim(task), after_s=-1)
    _bring_to(status, records, task, claim)
    reopened = _reopen(records, task, key)

    assert reopened == read_task(records, task)
    assert reopened is not None
    assert (reopened.status, reopened.tries) == (Status.PENDING, 0)
    assert (reopened.error, reopened.finished, reopened.next_attempt_at) == (None, None, None)
    assert list_names(records) == [key]
    before = reopened.attempt
    lease = claim(task)
    assert (lease.attempt, lease.task.tries) == (before + 1, 1)
    numbers = [one.number for one in list_attempts(records, task)]
    assert numbers == list(range(1, lease.attempt + 1))
    assert complete_task(records, lease)


def test_a_task_whose_name_was_taken_meanwhile_stays_as_it_was(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    assert fail_task(records, claim(task))
    failed = read_task(records, task)
    make_task("a.mp4")
    with pytest.raises(FileExists):
        _reopen(records, task, "prefix/folder/a.mp4")
    assert read_task(records, task) == failed


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.COMPLETE])
def test_what_has_not_failed_nor_was_cancelled_gets_no_other_go(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    _bring_to(status, records, task, claim)
    before = read_task(records, task)
    assert _reopen(records, task, "prefix/folder/a.mp4") is None
    assert read_task(records, task) == before


def test_the_worker_of_a_task_that_was_cancelled_and_reopened_writes_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    late = claim(task)
    assert cancel_task(records, task)
    assert _reopen(records, task, "prefix/folder/a.mp4")
    # Between two attempts, and with another one running.
    for attempt in (1, 2):
        before = read_task(records, task)
        assert before.attempt == attempt
        assert not complete_task(records, late)
        assert not fail_task(records, late)
        assert not retry_later(records, late)
        with records.transaction() as connection:
            assert leases.extend_leases(connection, [(task.id, late.attempt)], 60) == frozenset()
            assert leases.hand_back(connection, [(task.id, late.attempt)]) == 0
        assert read_task(records, task) == before
        if before.status is Status.PENDING:
            claim(task, "worker-2")


@pytest.mark.parametrize("woken", [False, True])
def test_a_reopened_task_is_noted_as_woken_by_who_wakes_it(
    woken: bool,  # noqa: FBT001
    records: Database,
    make_task: MakeTask,
) -> None:
    task = make_task(woken=True)
    assert cancel_task(records, task)
    with records.transaction() as connection:
        assert decisions.reopen(connection, task.project_id, task.id, None, woken=woken)
    assert (read_columns(records, task, "woken")[0] is not None) is woken


@pytest.mark.parametrize(
    "status", [Status.PENDING, Status.PROCESSING, Status.FAILED, Status.CANCELLED]
)
def test_a_task_that_is_not_complete_takes_another_url(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    _bring_to(status, records, task, claim)
    before = read_task(records, task)
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    changed = _change_url(records, task, "https://fresh.invalid:8443/b?sig=2", expires)

    assert changed == read_task(records, task)
    assert changed is not None
    assert (changed.status, changed.attempt) == (status, before.attempt)
    assert changed.order.url == "https://fresh.invalid:8443/b?sig=2"
    assert (changed.error, changed.finished) == (before.error, before.finished)
    assert changed.updated > before.updated
    host = read_columns(records, task, "source_host", "url_expires")
    assert host == ("fresh.invalid", expires)


def test_a_task_that_waits_may_run_at_once_with_another_url(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    assert retry_later(records, claim(task), after_s=60)
    assert _change_url(records, task, "https://fresh.invalid/b")
    lease = try_claim(records, task)
    assert lease is not None
    assert lease.task.order.url == "https://fresh.invalid/b"


def test_a_complete_task_keeps_its_url(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    _bring_to(Status.COMPLETE, records, task, claim)
    complete = read_task(records, task)
    assert _change_url(records, task, "https://fresh.invalid/b") is None
    assert read_task(records, task) == complete


def test_another_projects_task_is_neither_cancelled_nor_reopened_nor_changed(
    records: Database, make_task: MakeTask
) -> None:
    pending, cancelled = make_task(), make_task()
    assert cancel_task(records, cancelled)
    before = [read_task(records, task) for task in (pending, cancelled)]
    assert cancel_task(records, pending, "prj_other") is None
    assert _reopen(records, cancelled, project_id="prj_other") is None
    with records.transaction() as connection:
        for task in (pending, cancelled):
            changed = decisions.change_url(
                connection, "prj_other", task.id, "http://x.invalid/", None, b"sealed"
            )
            assert changed is None
    assert [read_task(records, task) for task in (pending, cancelled)] == before
