"""Attempts on real PostgreSQL: ended once, and by the right one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from ingest.errors import SourceNotFound, SourceUnavailable, StorageUnavailable
from ingest.states import Status
from storage.records import completions, files, leases
from storage.records.completions import Completion
from storage.records.database import Database
from tests.integration.examples import (
    Claim,
    MakeTask,
    cancel_task,
    complete_task,
    fail_task,
    list_attempts,
    list_names,
    make_file,
    measure_wait_s,
    read_columns,
    read_task,
    release_expired,
    retry_later,
)


def test_completing_a_task_ends_it_its_attempt_and_keeps_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    assert complete_task(records, lease)

    found = read_task(records, task)
    assert (found.status, found.error) == (Status.COMPLETE, None)
    assert found.finished is not None
    (attempt,) = list_attempts(records, task)
    with records.transaction() as connection:
        assert files.get(connection, task.project_id, task.file_id) is not None
    assert (attempt.transferred_bytes, attempt.error) == (10, None)
    assert attempt.finished == found.finished
    assert list_names(records) == ["prefix/folder/a.mp4"]


def test_failing_a_task_ends_it_with_its_error_and_frees_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    assert fail_task(records, claim(task))

    found = read_task(records, task)
    assert found.status is Status.FAILED
    assert found.error == SourceNotFound("Gone.").as_failure()
    (attempt,) = list_attempts(records, task)
    assert (attempt.transferred_bytes, attempt.error) == (5, found.error)
    assert list_names(records) == []
    make_task("a.mp4")


def test_a_transaction_that_breaks_ends_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)

    def complete_and_break() -> None:
        with records.transaction() as connection:
            assert completions.complete(connection, lease, make_file(lease), 10) is Completion.DONE
            raise RuntimeError

    with pytest.raises(RuntimeError):
        complete_and_break()

    assert read_task(records, task).status is Status.PROCESSING
    with records.transaction() as connection:
        assert files.get(connection, task.project_id, task.file_id) is None
    assert complete_task(records, lease)


def test_an_attempt_whose_lease_was_taken_over_writes_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    late = claim(task, "worker-1", lease_s=-1)
    assert release_expired(records) == {task.id: Status.PENDING}
    # Between two attempts, and with another one running, the first may write nothing.
    for _ in range(2):
        assert not complete_task(records, late)
        assert not fail_task(records, late)
        with records.transaction() as connection:
            assert leases.extend_leases(connection, [(task.id, late.attempt)], 60) == frozenset()
        current = read_task(records, task)
        if current.status is Status.PENDING:
            owner = claim(task, "worker-2")
    assert (owner.attempt, read_task(records, task).status) == (2, Status.PROCESSING)
    assert list_names(records) == ["prefix/folder/a.mp4"]

    assert complete_task(records, owner)
    first, second = list_attempts(records, task)
    assert (first.worker, second.worker) == ("worker-1", "worker-2")
    assert first.error is not None
    assert first.error.code == "lease_lost"


def test_a_task_whose_worker_fell_silent_on_every_attempt_fails_and_frees_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4", max_attempts=3)
    for _ in range(2):
        claim(task, lease_s=-1)
        assert release_expired(records) == {task.id: Status.PENDING}
        error = read_task(records, task).error
        assert error is not None
        assert error.code == "lease_lost"
    claim(task, lease_s=-1)

    assert release_expired(records) == {task.id: Status.FAILED}

    found = read_task(records, task)
    assert found.error is not None
    assert found.error.code == "attempts_exhausted"
    assert "3 attempts" in found.error.message
    assert found.finished is not None
    assert list_names(records) == []
    attempts = list_attempts(records, task)
    assert [attempt.number for attempt in attempts] == [1, 2, 3]
    assert all(attempt.finished for attempt in attempts)


def test_sweepers_who_work_at_once_release_each_lease_once(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    expired = [make_task() for _ in range(20)]
    for task in expired:
        claim(task, lease_s=-1)
    with ThreadPoolExecutor(4) as pool:
        released = [
            task_id
            for one in pool.map(lambda _: release_expired(records), range(4))
            for task_id in one
        ]
    assert sorted(released) == sorted(task.id for task in expired)
    assert release_expired(records) == {}


def test_a_task_that_failed_for_now_waits_with_its_error_and_keeps_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4", woken=True)
    first = claim(task)
    assert retry_later(records, first, after_s=60)

    found = read_task(records, task)
    assert (found.status, found.attempt, found.tries) == (Status.PENDING, 1, 1)
    assert found.error == SourceUnavailable("The source answered 503.").as_failure()
    assert (found.finished, found.outage_since) == (None, None)
    assert 55 < measure_wait_s(records, task) <= 60
    assert read_columns(records, task, "lease_until", "woken") == (None, None)
    (attempt,) = list_attempts(records, task)
    assert (attempt.transferred_bytes, attempt.error) == (7, found.error)
    assert attempt.finished is not None
    assert list_names(records) == ["prefix/folder/a.mp4"]


def test_an_attempt_that_an_outage_of_ours_ended_is_not_charged(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    outage = StorageUnavailable("The object store does not answer.")
    began: list[datetime | None] = []
    for _ in range(2):
        assert retry_later(records, claim(task), outage, after_s=-1, charged=False)
        found = read_task(records, task)
        began.append(found.outage_since)
        assert found.tries == 0
    # An outage lasts from the first attempt that met it, and is over with the first that did not.
    assert began[0] is not None
    assert began[0] == began[1]
    assert retry_later(records, claim(task), after_s=-1)
    found = read_task(records, task)
    assert (found.attempt, found.tries, found.outage_since) == (3, 1, None)
    assert retry_later(records, claim(task), outage, charged=False)
    last = read_task(records, task).outage_since
    assert last is not None
    assert last > began[0]


def test_an_attempt_without_its_lease_gives_nothing_back(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    late = claim(task, lease_s=-1)
    release_expired(records)
    released = read_task(records, task)
    assert not retry_later(records, late)
    assert read_task(records, task) == released
    claim(task, "worker-2")
    claimed = read_task(records, task)
    assert not retry_later(records, late)
    with records.transaction() as connection:
        assert leases.hand_back(connection, [(task.id, late.attempt)]) == 0
    assert read_task(records, task) == claimed


def test_a_worker_that_stops_gives_its_tasks_back_at_once_and_uncharged(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    held, ended = make_task("a.mp4", woken=True), make_task()
    pairs = [(task.id, claim(task).attempt) for task in (held, ended)]
    assert cancel_task(records, ended)
    with records.transaction() as connection:
        assert leases.hand_back(connection, [*pairs, ("task_unknown", 1)]) == 1

    found = read_task(records, held)
    assert (found.status, found.attempt, found.tries) == (Status.PENDING, 1, 0)
    assert found.error is not None
    assert found.error.code == "worker_stopped"
    assert read_columns(records, held, "next_attempt_at", "woken", "lease_until") == (None,) * 3
    (attempt,) = list_attempts(records, held)
    assert attempt.error == found.error
    assert attempt.finished is not None
    assert list_names(records) == ["prefix/folder/a.mp4"]
    assert read_task(records, ended).status is Status.CANCELLED
    assert claim(held).attempt == 2
