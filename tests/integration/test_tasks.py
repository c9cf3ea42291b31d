"""Tasks on real PostgreSQL: promised once, claimed once, ended once, and by the right attempt."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, select, text, update

from ingest.errors import FileExists, SourceNotFound
from ingest.model import Lease, Project, Task
from ingest.states import TRANSITIONS, Status
from storage.records import files, leases, lookups, tasks, wakeups
from storage.records.database import Database
from storage.records.tables import names
from storage.records.tables import tasks as table
from tests.integration.examples import Claim, MakeTask, make_file


def _read(records: Database, task: Task) -> Task:
    with records.transaction() as connection:
        found = lookups.get(connection, task.project_id, task.id)
    assert found is not None
    return found


def _list_names(records: Database) -> list[str]:
    with records.transaction() as connection:
        return sorted(connection.execute(select(names.c.object_key)).scalars())


def _complete(records: Database, lease: Lease) -> bool:
    with records.transaction() as connection:
        if not tasks.complete(connection, lease, 10):
            return False
        files.insert_file(connection, make_file(lease))
    return True


def _fail(records: Database, lease: Lease) -> bool:
    with records.transaction() as connection:
        return tasks.fail(connection, lease, SourceNotFound("Gone."), 5)


def _release(records: Database) -> dict[str, Status]:
    with records.transaction() as connection:
        return dict(leases.release_expired(connection))


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
    assert _list_names(records) == ["prefix/folder/raced.mp4"]


def test_a_claim_takes_the_task_and_counts_the_attempt(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    lease = claim(task, "worker-7")

    assert (lease.attempt, lease.worker, lease.key_prefix) == (1, "worker-7", "prefix")
    found = _read(records, task)
    assert (found.status, found.attempt) == (Status.PROCESSING, 1)
    assert found.started is not None
    with records.transaction() as connection:
        (attempt,) = lookups.list_attempts(connection, [task.id])[task.id]
    assert (attempt.number, attempt.worker, attempt.finished) == (1, "worker-7", None)


def test_of_many_who_claim_at_once_one_gets_the_lease(
    records: Database, make_task: MakeTask
) -> None:
    task = make_task()
    start = threading.Barrier(8)

    def claim(number: int) -> Lease | None:
        start.wait(10)
        with records.transaction() as connection:
            return tasks.claim(connection, task.id, f"worker-{number}", 60)

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(claim, range(8)) if lease is not None]
    assert len(leases) == 1
    assert _read(records, task).attempt == 1


@pytest.mark.parametrize("ended", ["complete", "failed", "unknown", "claimed"])
def test_what_cannot_be_claimed_is_no_work(
    ended: str, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    if ended == "unknown":
        task_id = "task_unknown"
    else:
        task_id, lease = task.id, claim(task)
        if ended != "claimed":
            assert (_complete if ended == "complete" else _fail)(records, lease)
    with records.transaction() as connection:
        assert tasks.claim(connection, task_id, "worker-2", 60) is None


def test_completing_a_task_ends_it_its_attempt_and_keeps_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    assert _complete(records, lease)

    found = _read(records, task)
    assert (found.status, found.error) == (Status.COMPLETE, None)
    assert found.finished is not None
    with records.transaction() as connection:
        (attempt,) = lookups.list_attempts(connection, [task.id])[task.id]
        assert files.get(connection, task.project_id, task.file_id) is not None
    assert (attempt.transferred_bytes, attempt.error) == (10, None)
    assert attempt.finished == found.finished
    assert _list_names(records) == ["prefix/folder/a.mp4"]


def test_failing_a_task_ends_it_with_its_error_and_frees_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    assert _fail(records, claim(task))

    found = _read(records, task)
    assert found.status is Status.FAILED
    assert found.error == SourceNotFound("Gone.").as_failure()
    with records.transaction() as connection:
        (attempt,) = lookups.list_attempts(connection, [task.id])[task.id]
    assert (attempt.transferred_bytes, attempt.error) == (5, found.error)
    assert _list_names(records) == []
    make_task("a.mp4")


def test_a_transaction_that_breaks_ends_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)

    def complete_and_break() -> None:
        with records.transaction() as connection:
            assert tasks.complete(connection, lease, 10)
            files.insert_file(connection, make_file(lease))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        complete_and_break()

    assert _read(records, task).status is Status.PROCESSING
    with records.transaction() as connection:
        assert files.get(connection, task.project_id, task.file_id) is None
    assert _complete(records, lease)


def test_an_attempt_whose_lease_was_taken_over_writes_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    late = claim(task, "worker-1", lease_s=-1)
    assert _release(records) == {task.id: Status.PENDING}
    # Between two attempts, and with another one running, the first may write nothing.
    for _ in range(2):
        assert not _complete(records, late)
        assert not _fail(records, late)
        with records.transaction() as connection:
            assert leases.extend_leases(connection, [(task.id, late.attempt)], 60) == frozenset()
        current = _read(records, task)
        if current.status is Status.PENDING:
            owner = claim(task, "worker-2")
    assert (owner.attempt, _read(records, task).status) == (2, Status.PROCESSING)
    assert _list_names(records) == ["prefix/folder/a.mp4"]

    assert _complete(records, owner)
    with records.transaction() as connection:
        first, second = lookups.list_attempts(connection, [task.id])[task.id]
    assert (first.worker, second.worker) == ("worker-1", "worker-2")
    assert first.error is not None
    assert first.error.code == "lease_lost"


def test_leases_are_extended_for_those_who_hold_them(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    held, expired, ended = make_task(), make_task(), make_task()
    for task in (held, expired):
        claim(task, lease_s=-1)
    assert _fail(records, claim(ended))
    pairs = [(held.id, 1), (expired.id, 2), (ended.id, 1), ("task_unknown", 1)]

    with records.transaction() as connection:
        assert leases.extend_leases(connection, pairs, 60) == frozenset({(held.id, 1)})

    # The one that was extended in time is nobody else's.
    assert _release(records) == {expired.id: Status.PENDING}


def test_a_task_whose_worker_fell_silent_on_every_attempt_fails_and_frees_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4", max_attempts=3)
    for _ in range(2):
        claim(task, lease_s=-1)
        assert _release(records) == {task.id: Status.PENDING}
        error = _read(records, task).error
        assert error is not None
        assert error.code == "lease_lost"
    claim(task, lease_s=-1)

    assert _release(records) == {task.id: Status.FAILED}

    found = _read(records, task)
    assert found.error is not None
    assert found.error.code == "attempts_exhausted"
    assert "3 attempts" in found.error.message
    assert found.finished is not None
    assert _list_names(records) == []
    with records.transaction() as connection:
        attempts = lookups.list_attempts(connection, [task.id])[task.id]
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
            task_id for one in pool.map(lambda _: _release(records), range(4)) for task_id in one
        ]
    assert sorted(released) == sorted(task.id for task in expired)
    assert _release(records) == {}


@pytest.mark.parametrize("source", list(Status))
@pytest.mark.parametrize("target", list(Status))
def test_a_move_that_the_table_of_states_does_not_hold_is_not_made(
    source: Status, target: Status, connection: Connection, make_task: MakeTask
) -> None:
    task = make_task()
    connection.execute(update(table).where(table.c.id == task.id).values(status=source))
    moved = tasks.move(connection, task.id, target, values={})
    assert (moved is not None) is (target in TRANSITIONS[source])


def test_wake_ups_are_chosen_oldest_first_up_to_the_limit_and_not_twice(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    pending = [make_task() for _ in range(5)]
    make_task(woken=True)
    claim(make_task())

    def pick(limit: int, resend_after_s: float) -> list[str]:
        with records.transaction() as connection:
            return list(wakeups.pick_wakeable(connection, limit, resend_after_s))

    ids = [task.id for task in pending]
    assert ids == sorted(ids)
    assert pick(2, 60) == ids[:2]
    assert pick(9, 60) == ids[2:]
    assert pick(9, 60) == []
    # What nobody answered for so long is woken again: all six that are pending.
    assert len(pick(9, -1)) == 6
    with records.transaction() as connection:
        wakeups.note_unwoken(connection, ids[3:])
    assert pick(9, 60) == ids[3:]


def test_dispatchers_who_work_at_once_choose_different_tasks(
    records: Database, make_task: MakeTask
) -> None:
    ids = [make_task().id for _ in range(6)]
    with records.transaction() as first, records.transaction() as second:
        mine = list(wakeups.pick_wakeable(first, 4, 60))
        # Rows that the first has locked are passed over, not waited for.
        theirs = list(wakeups.pick_wakeable(second, 4, 60))
    assert (mine, theirs) == (ids[:4], ids[4:])


def test_tasks_are_counted_by_state(records: Database, make_task: MakeTask, claim: Claim) -> None:
    make_task()
    claim(make_task())
    _fail(records, claim(make_task()))
    with records.transaction() as connection:
        assert lookups.count_by_status(connection) == {
            Status.PENDING: 1,
            Status.PROCESSING: 1,
            Status.COMPLETE: 0,
            Status.FAILED: 1,
            Status.CANCELLED: 0,
        }


def test_only_what_ended_without_a_file_has_left_a_leftover(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    pending, running, failed, done = (make_task() for _ in range(4))
    claim(running)
    _fail(records, claim(failed))
    _complete(records, claim(done))
    with records.transaction() as connection:
        left = [
            lookups.left_nothing(connection, task.file_id)
            for task in (pending, running, failed, done)
        ]
        assert left == [False, False, True, False]
        assert lookups.left_nothing(connection, "file_unknown") is False
