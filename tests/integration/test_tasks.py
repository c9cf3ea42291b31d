"""Tasks on real PostgreSQL: promised once, claimed once, ended once, and by the right attempt."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, func, select, text, update

from ingest.errors import (
    FileExists,
    HeadraceError,
    SourceNotFound,
    SourceUnavailable,
    StorageUnavailable,
)
from ingest.model import Lease, Project, Task
from ingest.states import TRANSITIONS, Status
from storage.records import files, leases, lookups, tasks
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


def _retry_later(
    records: Database,
    lease: Lease,
    error: HeadraceError | None = None,
    *,
    after_s: float = 60,
    charged: bool = True,
) -> bool:
    failed_with = error or SourceUnavailable("The source answered 503.")
    with records.transaction() as connection:
        return tasks.retry_later(
            connection, lease, failed_with, 7, after_s=after_s, charged=charged
        )


def _cancel(records: Database, task: Task, project_id: str | None = None) -> Task | None:
    with records.transaction() as connection:
        return tasks.cancel(connection, project_id or task.project_id, task.id)


def _reopen(
    records: Database, task: Task, object_key: str | None = None, project_id: str | None = None
) -> Task | None:
    with records.transaction() as connection:
        return tasks.reopen(
            connection, project_id or task.project_id, task.id, object_key, woken=False
        )


def _change_url(
    records: Database, task: Task, url: str, expires: datetime | None = None
) -> Task | None:
    with records.transaction() as connection:
        return tasks.change_url(connection, task.project_id, task.id, url, expires)


def _try_claim(
    records: Database, task: Task, worker: str = "worker-1", host_limit: int = 0
) -> Lease | None:
    with records.transaction() as connection:
        return tasks.claim(connection, task.id, worker, 60, host_limit=host_limit)


def _read_columns(records: Database, task: Task, *names: str) -> tuple[object, ...]:
    with records.transaction() as connection:
        query = select(*(table.c[name] for name in names)).where(table.c.id == task.id)
        return tuple(connection.execute(query).one())


def _measure_wait_s(records: Database, task: Task) -> float:
    """Return how long a task is still to wait, by the clock that counts."""
    with records.transaction() as connection:
        wait = connection.execute(
            select(table.c.next_attempt_at - func.now()).where(table.c.id == task.id)
        ).scalar_one()
    assert isinstance(wait, timedelta)
    return wait.total_seconds()


def _let_wait_end(records: Database, task: Task) -> None:
    with records.transaction() as connection:
        connection.execute(
            update(table).where(table.c.id == task.id).values(next_attempt_at=func.now())
        )


def _bring_to(status: Status, records: Database, task: Task, claim: Claim) -> None:
    """Bring a pending task into a state by the moves that lead there."""
    if status is Status.CANCELLED:
        assert _cancel(records, task)
    elif status is not Status.PENDING:
        lease = claim(task)
        if status is Status.COMPLETE:
            assert _complete(records, lease)
        elif status is Status.FAILED:
            assert _fail(records, lease)


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


def test_a_task_that_failed_for_now_waits_with_its_error_and_keeps_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4", woken=True)
    first = claim(task)
    assert _retry_later(records, first, after_s=60)

    found = _read(records, task)
    assert (found.status, found.attempt, found.tries) == (Status.PENDING, 1, 1)
    assert found.error == SourceUnavailable("The source answered 503.").as_failure()
    assert (found.finished, found.outage_since) == (None, None)
    assert 55 < _measure_wait_s(records, task) <= 60
    assert _read_columns(records, task, "lease_until", "woken") == (None, None)
    with records.transaction() as connection:
        (attempt,) = lookups.list_attempts(connection, [task.id])[task.id]
    assert (attempt.transferred_bytes, attempt.error) == (7, found.error)
    assert attempt.finished is not None
    assert _list_names(records) == ["prefix/folder/a.mp4"]


def test_a_task_that_waits_is_claimed_when_its_time_has_come_and_not_before(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    assert _retry_later(records, claim(task), after_s=60)
    waiting = _read(records, task)
    assert _try_claim(records, task) is None
    assert _read(records, task) == waiting

    _let_wait_end(records, task)
    second = _try_claim(records, task)

    assert second is not None
    found = _read(records, task)
    assert (second.attempt, found.tries) == (2, 2)
    assert (found.error, found.next_attempt_at) == (None, None)
    assert found.started == waiting.started


def test_an_attempt_that_an_outage_of_ours_ended_is_not_charged(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    outage = StorageUnavailable("The object store does not answer.")
    began: list[datetime | None] = []
    for _ in range(2):
        assert _retry_later(records, claim(task), outage, after_s=-1, charged=False)
        found = _read(records, task)
        began.append(found.outage_since)
        assert found.tries == 0
    # An outage lasts from the first attempt that met it, and is over with the first that did not.
    assert began[0] is not None
    assert began[0] == began[1]
    assert _retry_later(records, claim(task), after_s=-1)
    found = _read(records, task)
    assert (found.attempt, found.tries, found.outage_since) == (3, 1, None)
    assert _retry_later(records, claim(task), outage, charged=False)
    last = _read(records, task).outage_since
    assert last is not None
    assert last > began[0]


def test_an_attempt_without_its_lease_gives_nothing_back(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    late = claim(task, lease_s=-1)
    _release(records)
    released = _read(records, task)
    assert not _retry_later(records, late)
    assert _read(records, task) == released
    claim(task, "worker-2")
    claimed = _read(records, task)
    assert not _retry_later(records, late)
    with records.transaction() as connection:
        assert leases.hand_back(connection, [(task.id, late.attempt)]) == 0
    assert _read(records, task) == claimed


def test_a_worker_that_stops_gives_its_tasks_back_at_once_and_uncharged(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    held, ended = make_task("a.mp4", woken=True), make_task()
    pairs = [(task.id, claim(task).attempt) for task in (held, ended)]
    assert _cancel(records, ended)
    with records.transaction() as connection:
        assert leases.hand_back(connection, [*pairs, ("task_unknown", 1)]) == 1

    found = _read(records, held)
    assert (found.status, found.attempt, found.tries) == (Status.PENDING, 1, 0)
    assert found.error is not None
    assert found.error.code == "worker_stopped"
    assert _read_columns(records, held, "next_attempt_at", "woken", "lease_until") == (None,) * 3
    with records.transaction() as connection:
        (attempt,) = lookups.list_attempts(connection, [held.id])[held.id]
    assert attempt.error == found.error
    assert attempt.finished is not None
    assert _list_names(records) == ["prefix/folder/a.mp4"]
    assert _read(records, ended).status is Status.CANCELLED
    assert claim(held).attempt == 2


@pytest.mark.parametrize("waits", [False, True])
def test_cancelling_a_pending_task_ends_it_and_frees_its_name(
    waits: bool,  # noqa: FBT001
    records: Database,
    make_task: MakeTask,
    claim: Claim,
) -> None:
    task = make_task("a.mp4", woken=True)
    if waits:
        assert _retry_later(records, claim(task))
    cancelled = _cancel(records, task)

    assert cancelled == _read(records, task)
    assert cancelled is not None
    assert (cancelled.status, cancelled.next_attempt_at) == (Status.CANCELLED, None)
    assert cancelled.error is not None
    assert (cancelled.error.code, cancelled.error.retryable) == ("cancelled", False)
    assert cancelled.finished is not None
    assert _list_names(records) == []
    assert _try_claim(records, task) is None
    make_task("a.mp4")


def test_cancelling_a_running_task_ends_its_attempt_and_its_worker_writes_nothing_more(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    cancelled = _cancel(records, task)
    assert cancelled is not None

    with records.transaction() as connection:
        assert leases.extend_leases(connection, [(task.id, lease.attempt)], 60) == frozenset()
    assert not _complete(records, lease)
    assert not _fail(records, lease)
    assert not _retry_later(records, lease)
    assert _release(records) == {}
    assert _read(records, task) == cancelled
    with records.transaction() as connection:
        (attempt,) = lookups.list_attempts(connection, [task.id])[task.id]
        assert files.get(connection, task.project_id, task.file_id) is None
    assert (attempt.error, attempt.finished) == (cancelled.error, cancelled.finished)
    assert _list_names(records) == []


@pytest.mark.parametrize("status", [Status.COMPLETE, Status.FAILED, Status.CANCELLED])
def test_what_has_ended_is_not_cancelled(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    _bring_to(status, records, task, claim)
    ended = _read(records, task)
    assert _cancel(records, task) is None
    assert _read(records, task) == ended


def test_of_a_cancel_and_an_end_at_once_one_wins(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    for _ in range(10):
        task = make_task()
        lease = claim(task)
        start = threading.Barrier(2)

        def cancel(task: Task = task, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return _cancel(records, task) is not None

        def complete(lease: Lease = lease, start: threading.Barrier = start) -> bool:
            start.wait(10)
            return _complete(records, lease)

        with ThreadPoolExecutor(2) as pool:
            cancelled, completed = pool.submit(cancel), pool.submit(complete)
            assert cancelled.result() is not completed.result()
        wanted = Status.CANCELLED if cancelled.result() else Status.COMPLETE
        assert _read(records, task).status is wanted
        with records.transaction() as connection:
            file = files.get(connection, task.project_id, task.file_id)
        assert (file is not None) is completed.result()


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_task_gets_another_go_with_its_name_and_all_its_attempts(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    key = "prefix/folder/a.mp4"
    task = make_task("a.mp4", max_attempts=2)
    assert _retry_later(records, claim(task), after_s=-1)
    _bring_to(status, records, task, claim)
    reopened = _reopen(records, task, key)

    assert reopened == _read(records, task)
    assert reopened is not None
    assert (reopened.status, reopened.tries) == (Status.PENDING, 0)
    assert (reopened.error, reopened.finished, reopened.next_attempt_at) == (None, None, None)
    assert _list_names(records) == [key]
    before = reopened.attempt
    lease = claim(task)
    assert (lease.attempt, lease.task.tries) == (before + 1, 1)
    with records.transaction() as connection:
        numbers = [one.number for one in lookups.list_attempts(connection, [task.id])[task.id]]
    assert numbers == list(range(1, lease.attempt + 1))
    assert _complete(records, lease)


def test_a_task_whose_name_was_taken_meanwhile_stays_as_it_was(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    assert _fail(records, claim(task))
    failed = _read(records, task)
    make_task("a.mp4")
    with pytest.raises(FileExists):
        _reopen(records, task, "prefix/folder/a.mp4")
    assert _read(records, task) == failed


@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.COMPLETE])
def test_what_has_not_failed_nor_was_cancelled_gets_no_other_go(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    _bring_to(status, records, task, claim)
    before = _read(records, task)
    assert _reopen(records, task, "prefix/folder/a.mp4") is None
    assert _read(records, task) == before


def test_the_worker_of_a_task_that_was_cancelled_and_reopened_writes_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    late = claim(task)
    assert _cancel(records, task)
    assert _reopen(records, task, "prefix/folder/a.mp4")
    # Between two attempts, and with another one running.
    for attempt in (1, 2):
        before = _read(records, task)
        assert before.attempt == attempt
        assert not _complete(records, late)
        assert not _fail(records, late)
        assert not _retry_later(records, late)
        with records.transaction() as connection:
            assert leases.extend_leases(connection, [(task.id, late.attempt)], 60) == frozenset()
            assert leases.hand_back(connection, [(task.id, late.attempt)]) == 0
        assert _read(records, task) == before
        if before.status is Status.PENDING:
            claim(task, "worker-2")


@pytest.mark.parametrize("woken", [False, True])
def test_a_reopened_task_is_noted_as_woken_by_who_wakes_it(
    woken: bool,  # noqa: FBT001
    records: Database,
    make_task: MakeTask,
) -> None:
    task = make_task(woken=True)
    assert _cancel(records, task)
    with records.transaction() as connection:
        assert tasks.reopen(connection, task.project_id, task.id, None, woken=woken)
    assert (_read_columns(records, task, "woken")[0] is not None) is woken


@pytest.mark.parametrize(
    "status", [Status.PENDING, Status.PROCESSING, Status.FAILED, Status.CANCELLED]
)
def test_a_task_that_is_not_complete_takes_another_url(
    status: Status, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    _bring_to(status, records, task, claim)
    before = _read(records, task)
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    changed = _change_url(records, task, "https://fresh.invalid:8443/b?sig=2", expires)

    assert changed == _read(records, task)
    assert changed is not None
    assert (changed.status, changed.attempt) == (status, before.attempt)
    assert changed.order.url == "https://fresh.invalid:8443/b?sig=2"
    assert (changed.error, changed.finished) == (before.error, before.finished)
    assert changed.updated > before.updated
    host = _read_columns(records, task, "source_host", "url_expires")
    assert host == ("fresh.invalid", expires)


def test_a_task_that_waits_may_run_at_once_with_another_url(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    assert _retry_later(records, claim(task), after_s=60)
    assert _change_url(records, task, "https://fresh.invalid/b")
    lease = _try_claim(records, task)
    assert lease is not None
    assert lease.task.order.url == "https://fresh.invalid/b"


def test_a_complete_task_keeps_its_url(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    _bring_to(Status.COMPLETE, records, task, claim)
    complete = _read(records, task)
    assert _change_url(records, task, "https://fresh.invalid/b") is None
    assert _read(records, task) == complete


def test_another_projects_task_is_neither_cancelled_nor_reopened_nor_changed(
    records: Database, make_task: MakeTask
) -> None:
    pending, cancelled = make_task(), make_task()
    assert _cancel(records, cancelled)
    before = [_read(records, task) for task in (pending, cancelled)]
    assert _cancel(records, pending, "prj_other") is None
    assert _reopen(records, cancelled, project_id="prj_other") is None
    with records.transaction() as connection:
        for task in (pending, cancelled):
            changed = tasks.change_url(connection, "prj_other", task.id, "http://x.invalid/", None)
            assert changed is None
    assert [_read(records, task) for task in (pending, cancelled)] == before


def test_a_task_is_put_off_while_its_host_is_at_the_limit(
    records: Database, make_task: MakeTask
) -> None:
    # One host, whatever the port, the scheme and the case.
    urls = [
        f"{base}/{number}"
        for number, base in enumerate(
            ("http://busy.invalid", "https://BUSY.invalid", "http://busy.invalid:81")
        )
    ]
    first, second, third = (make_task(url=url, woken=True) for url in urls)
    other = make_task(url="http://idle.invalid/")
    held = [_try_claim(records, task, host_limit=2) for task in (first, second)]
    assert None not in held
    assert _try_claim(records, third, host_limit=2) is None

    found = _read(records, third)
    assert (found.status, found.attempt, found.tries) == (Status.PENDING, 0, 0)
    assert found.error is None
    assert 0 < _measure_wait_s(records, third) <= 2
    assert _read_columns(records, third, "woken") == (None,)
    assert _try_claim(records, other, host_limit=2) is not None

    assert held[0] is not None
    assert _fail(records, held[0])
    _let_wait_end(records, third)
    assert _try_claim(records, third, host_limit=2) is not None


def test_a_limit_of_none_lets_any_number_fetch_from_one_host(
    records: Database, make_task: MakeTask
) -> None:
    assert all(_try_claim(records, make_task(), host_limit=0) for _ in range(5))


def test_of_many_who_claim_from_one_host_at_once_as_many_as_may_get_a_lease(
    records: Database, make_task: MakeTask
) -> None:
    made = [make_task() for _ in range(8)]
    start = threading.Barrier(8)

    def claim(task: Task) -> bool:
        start.wait(10)
        return _try_claim(records, task, f"worker-{task.id}", host_limit=3) is not None

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(claim, made)).count(True) == 3


def _lose_leases(records: Database, claim: Claim, task: Task, count: int) -> None:
    for _ in range(count):
        _let_wait_end(records, task)
        claim(task, "worker-9", lease_s=-1)
        assert _release(records) == {task.id: Status.PENDING}
    _let_wait_end(records, task)


@pytest.mark.parametrize(
    ("max_attempts", "lost", "suspect"),
    [(5, 0, False), (5, 1, False), (5, 2, True), (3, 2, True), (2, 0, False), (2, 1, True)],
)
def test_a_worker_runs_one_task_under_suspicion_at_a_time(
    max_attempts: int,
    lost: int,
    suspect: bool,  # noqa: FBT001
    records: Database,
    make_task: MakeTask,
    claim: Claim,
) -> None:
    first, second = (make_task(max_attempts=max_attempts) for _ in range(2))
    for task in (first, second):
        _lose_leases(records, claim, task, lost)
    running = _try_claim(records, first)
    assert running is not None

    refused = _try_claim(records, second) is None

    assert refused is suspect
    if suspect:
        assert 0 < _measure_wait_s(records, second) <= 2
        # It takes the place of no other task, and another worker may run it.
        assert _try_claim(records, make_task()) is not None
        _let_wait_end(records, second)
        assert _try_claim(records, second, "worker-2") is not None


def test_a_suspect_is_none_any_more_once_an_attempt_of_it_has_ended_by_itself(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    first, second = make_task(), make_task()
    for task in (first, second):
        _lose_leases(records, claim, task, 2)
    running = _try_claim(records, first)
    assert running is not None
    assert _retry_later(records, running, after_s=-1)
    assert _try_claim(records, first) is not None
    assert _try_claim(records, second) is not None


def test_of_suspects_that_a_worker_claims_at_once_one_gets_a_lease(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    made = [make_task() for _ in range(4)]
    for task in made:
        _lose_leases(records, claim, task, 2)
    start = threading.Barrier(4)

    def take(task: Task) -> bool:
        start.wait(10)
        return _try_claim(records, task) is not None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(take, made)).count(True) == 1
