"""Jobs of batches on real PostgreSQL: claimed in turn, leased, and written once or never."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from ingest.batch_jobs import Job, JobKind
from ingest.batches import Batch, BatchStatus
from ingest.config import Settings
from ingest.errors import DatabaseUnavailable, SourceNotFound, SourceTimeout
from ingest.ids import Prefix, make_id
from ingest.model import Limits, Project
from storage.objects.memory import MemoryObjectStore
from storage.records import batch_checks, batch_jobs, batches, projects, tallies
from storage.records.batch_checks import CheckAnswer, CheckRow
from storage.records.batch_tables import batch_sources
from storage.records.database import Database
from storage.signals import Signals
from tests.support.waiting import wait_until
from workers.batch_jobs import HeldJob, JobKeeper
from workers.sweep import Sweeper

MakeKeeper = Callable[..., JobKeeper]
URL = "https://lists.invalid/list.csv"


def _order(records: Database, project: Project, *, dry_run: bool = False) -> str:
    batch_id = make_id(Prefix.BATCH)
    with records.transaction() as connection:
        batches.create_loading(
            connection, project.id, batch_id, batches.NewBatch(None, None, None, None),
            source_url=URL, dry_run=dry_run, request_id="req_1",
        )  # fmt: skip
        batch_jobs.order_load(
            connection, project.id, batch_id, URL, None, {"on_error": "abort"},
            sealed_headers=b"one", sealed_item_headers=b"two",
        )  # fmt: skip
    return batch_id


def _order_check(records: Database, project: Project, count: int) -> str:
    batch_id = make_id(Prefix.BATCH)
    rows = [CheckRow(n, f"https://a.invalid/{n}", "a.invalid", None, b"key") for n in range(count)]
    with records.transaction() as connection:
        batches.create_check(
            connection, project.id, batch_id, batches.NewBatch(None, None, None, None),
            total=count, rejects=[], rejected=0, request_id="req_1",
        )  # fmt: skip
        batch_checks.order(connection, project.id, batch_id, rows)
    return batch_id


def _claim(records: Database, lease_s: float = 60) -> Job | None:
    with records.transaction() as connection:
        return batch_jobs.claim(connection, "worker-1", lease_s)


def _expect(job: Job | None) -> Job:
    assert job is not None
    return job


def _read(records: Database, project: Project, batch_id: str) -> Batch:
    with records.transaction() as connection:
        found = batches.get(connection, project.id, batch_id)
    assert found is not None
    return found


def _finish(records: Database, job: Job, total: int = 3) -> bool:
    with records.transaction() as connection:
        return batch_jobs.finish_load(
            connection, job, total=total, rejects=[], rejected=0, is_over=job.dry_run
        )


def test_a_job_tells_what_was_asked_and_is_claimed_once(
    records: Database, project: Project
) -> None:
    batch_id = _order(records, project)
    job = _expect(_claim(records))
    assert (job.batch_id, job.kind, job.url, job.form) == (batch_id, JobKind.LOAD, URL, None)
    assert (job.attempt, job.tries, job.options) == (1, 1, {"on_error": "abort"})
    assert (job.sealed_headers, job.sealed_item_headers) == (b"one", b"two")
    assert _claim(records) is None


def test_a_project_has_two_jobs_of_a_kind_at_once_and_holds_up_no_other(
    records: Database, project: Project
) -> None:
    for _ in range(3):
        _order(records, project)
    check = _order_check(records, project, 1)
    with records.transaction() as connection:
        other = projects.create_project(connection, "other", "other", Limits())
    of_other = _order(records, other)
    with records.transaction() as connection:
        of_kind = batch_jobs.claim(connection, "worker-1", 60, [JobKind.CHECK])
        assert _expect(of_kind).batch_id == check
        assert batch_jobs.claim(connection, "worker-1", 60, [JobKind.CHECK]) is None
    claimed = [_expect(of_kind), *(_expect(_claim(records)) for _ in range(3))]
    assert _claim(records) is None
    assert sorted(job.project_id for job in claimed) == sorted([project.id] * 3 + [other.id])
    assert {check, of_other} <= {job.batch_id for job in claimed}
    done = next(job for job in claimed if job.batch_id not in {check, of_other})
    assert _finish(records, done)
    assert _expect(_claim(records)).project_id == project.id


def test_a_lease_that_ran_out_is_taken_over_and_its_holder_writes_nothing(
    records: Database, project: Project
) -> None:
    batch_id = _order(records, project)
    late = _expect(_claim(records, lease_s=-1))
    job = _expect(_claim(records))
    assert (job.attempt, job.tries) == (2, 2)
    error = SourceNotFound("gone")
    with records.transaction() as connection:
        assert batch_jobs.extend(connection, [(batch_id, 1), (batch_id, 2)], 60) == {(batch_id, 2)}
        assert not batch_jobs.fail(connection, late, error)
        assert not batch_jobs.put_off(connection, late, error, 0, charged=True)
        assert batch_jobs.hand_back(connection, [(batch_id, 1)]) == 0
    assert not _finish(records, late)
    assert _read(records, project, batch_id).status is BatchStatus.LOADING
    assert _finish(records, job)
    assert not _finish(records, job)
    found = _read(records, project, batch_id)
    assert (found.status, found.total) == (BatchStatus.PROCESSING, 3)


def test_a_job_that_is_handed_back_is_not_charged_and_one_that_is_put_off_is(
    records: Database, project: Project
) -> None:
    batch_id = _order(records, project)
    first = _expect(_claim(records))
    with records.transaction() as connection:
        assert batch_jobs.hand_back(connection, [(batch_id, first.attempt)]) == 1
    # Nobody holds it now, whoever has its number.
    assert not _finish(records, first)
    second = _expect(_claim(records))
    assert (second.attempt, second.tries) == (2, 1)
    with records.transaction() as connection:
        assert batch_jobs.put_off(connection, second, SourceTimeout("late"), 60, charged=True)
    assert _claim(records) is None
    error = _read(records, project, batch_id).error
    assert error is not None
    assert (error.code, error.retryable) == ("source_timeout", True)
    with records.transaction() as connection:
        connection.execute(text("UPDATE batch_jobs SET next_attempt_at = now()"))
    third = _expect(_claim(records))
    assert (third.attempt, third.tries) == (3, 2)
    assert _finish(records, third)
    assert _read(records, project, batch_id).error is None


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_batch_that_is_cancelled_has_no_job_any_more(
    *, dry_run: bool, records: Database, project: Project
) -> None:
    batch_id = _order(records, project, dry_run=dry_run)
    job = _expect(_claim(records))
    with records.transaction() as connection:
        # It has no tasks, and is not over all the same.
        assert tallies.finish(connection) == []
        assert batches.cancel(connection, project.id, batch_id)
    assert not _finish(records, job)
    with records.transaction() as connection:
        assert tallies.finish(connection) == ([] if dry_run else [batch_id])
    found = _read(records, project, batch_id)
    assert found.status is BatchStatus.CANCELLED
    assert found.finished is not None


def test_answers_are_written_once_and_secrets_go_with_them(
    records: Database, project: Project
) -> None:
    batch_id = _order_check(records, project, 3)
    late = _expect(_claim(records, lease_s=-1))
    job = _expect(_claim(records))
    good = CheckAnswer(0, "image/gif", 26, 'W/"a"', "yesterday", ranged=True)
    bad = CheckAnswer(2, error=SourceNotFound("gone").as_failure())
    with records.transaction() as connection:
        assert not batch_checks.write_answers(connection, late, [good])
        assert batch_checks.write_answers(connection, job, [good, bad])
        assert [row.line for row in batch_checks.list_pending(connection, batch_id, -1, 9)] == [1]
    counts = _read(records, project, batch_id).counts
    assert (counts.complete, counts.failed, counts.pending) == (1, 1, 1)
    with records.transaction() as connection:
        assert batch_checks.give_up(connection, job, SourceTimeout("late"))
        assert batch_checks.finish(connection, job)
        first, second, third = batch_checks.list_checked(connection, batch_id, -1, 9)
        sealed = connection.execute(select(batch_sources.c.sealed_headers)).scalars().all()
    assert (first.status, first.answer) == ("ok", good)
    assert (third.status, third.answer) == ("failed", bad)
    assert second.answer.error == SourceTimeout("late").as_failure()
    assert sealed == [None] * 3
    found = _read(records, project, batch_id)
    assert (found.status, found.counts.failed) == (BatchStatus.COMPLETE, 2)
    # A dry run has nothing that could be paused or retried.
    for decide in (batches.pause, batches.resume, batches.retry, batches.cancel):
        with records.transaction() as connection:
            assert not decide(connection, project.id, batch_id)


def test_dry_runs_are_forgotten_with_all_that_was_found_out_and_batches_are_not(
    records: Database, project: Project
) -> None:
    kept = _order(records, project)
    assert _finish(records, _expect(_claim(records)))
    forgotten = _order_check(records, project, 2)
    with records.transaction() as connection:
        assert batches.cancel(connection, project.id, forgotten)
        assert batches.forget_dry_runs(connection, timedelta(hours=1), 9) == 0
    with records.transaction() as connection:
        assert batches.forget_dry_runs(connection, timedelta(0), 9) == 1
        assert batches.get(connection, project.id, forgotten) is None
        assert connection.execute(select(batch_sources.c.line)).all() == []
    assert _read(records, project, kept).total == 3


def test_a_claim_of_before_is_known_by_its_number_alone(
    records: Database, project: Project
) -> None:
    _order(records, project)
    job = _expect(_claim(records))
    assert not _finish(records, replace(job, attempt=job.attempt + 1))


def test_whoever_is_late_over_a_list_does_not_take_the_check_of_its_sources_for_it(
    records: Database, project: Project
) -> None:
    batch_id = _order(records, project, dry_run=True)
    late = _expect(_claim(records, lease_s=-1))
    reader = _expect(_claim(records))
    rows = [CheckRow(1, "https://a.invalid/1", "a.invalid", None, None)]
    with records.transaction() as connection:
        assert batch_jobs.finish_load(
            connection, reader, total=1, rejects=[], rejected=0, is_over=False
        )
        batch_checks.order(connection, project.id, batch_id, rows, attempt=reader.attempt)
    check = _expect(_claim(records))
    assert check.kind is JobKind.CHECK
    with records.transaction() as connection:
        for one in (late, reader):
            assert not batch_jobs.fail(connection, one, SourceNotFound("gone"))
        held = [(one.batch_id, one.attempt) for one in (late, reader, check)]
        assert batch_jobs.extend(connection, held, 60) == {held[2]}
    assert not _finish(records, late)
    assert _read(records, project, batch_id).status is BatchStatus.PROCESSING


def test_who_runs_least_is_next_whoever_ordered_before(records: Database, project: Project) -> None:
    for _ in range(2):
        _order(records, project)
        _order_check(records, project, 1)
    first = _expect(_claim(records))
    with records.transaction() as connection:
        other = projects.create_project(connection, "other", "other", Limits())
    late = _order(records, other)
    assert first.project_id == project.id
    assert _expect(_claim(records)).batch_id == late
    assert _expect(_claim(records)).project_id == project.id


def test_a_claim_does_not_count_anew_for_each_job_of_a_long_backlog(
    records: Database, project: Project
) -> None:
    order = _order(records, project)
    with records.transaction() as connection:
        for table, columns in (
            ("batches", "project_id, status, source_url, total, rejected, request_id"),
            ("batch_jobs", "project_id, kind, url"),
        ):
            key = "id" if table == "batches" else "batch_id"
            connection.execute(
                text(f"""
                    INSERT INTO {table} ({key}, {columns})
                    SELECT {key} || number, {columns} FROM {table}, generate_series(1, 20000) number
                    WHERE {key} = :id
                """),  # noqa: S608 - constants
                {"id": order},
            )
    for _ in range(batch_jobs.MOST_OF_PROJECT):
        _expect(_claim(records))
    # Within the time that a statement has: counting anew takes minutes.
    assert _claim(records) is None


def test_a_check_that_fails_keeps_no_secret_and_leaves_no_source_open(
    records: Database, project: Project
) -> None:
    batch_id = _order_check(records, project, 2)
    job = _expect(_claim(records))
    error = SourceTimeout("late")
    with records.transaction() as connection:
        assert batch_checks.write_answers(connection, job, [CheckAnswer(0, "image/gif", 26)])
        assert batch_jobs.fail(connection, job, error)
        sealed = connection.execute(select(batch_sources.c.sealed_headers)).scalars().all()
        first, second = batch_checks.list_checked(connection, batch_id, -1, 9)
    assert sealed == [None] * 2
    assert (first.status, second.status) == ("ok", "failed")
    assert second.answer.error == error.as_failure()
    found = _read(records, project, batch_id)
    assert (found.status, found.error) == (BatchStatus.FAILED, error.as_failure())
    assert (found.counts.complete, found.counts.failed, found.counts.pending) == (1, 1, 0)


def test_a_check_that_was_put_off_and_is_done_has_no_error_any_more(
    records: Database, project: Project
) -> None:
    batch_id = _order_check(records, project, 1)
    job = _expect(_claim(records))
    with records.transaction() as connection:
        assert batch_jobs.put_off(connection, job, SourceTimeout("late"), 0, charged=True)
    assert _read(records, project, batch_id).error is not None
    job = _expect(_claim(records))
    with records.transaction() as connection:
        assert batch_checks.finish(connection, job)
    found = _read(records, project, batch_id)
    assert (found.status, found.error) == (BatchStatus.COMPLETE, None)


def test_however_many_dry_runs_are_old_one_round_forgets_them(
    records: Database, project: Project, signals: Signals, settings: Settings
) -> None:
    old = [_order(records, project, dry_run=True) for _ in range(25)]
    for _ in old:
        assert _finish(records, _expect(_claim(records)))
    young = _order(records, project, dry_run=True)
    assert _finish(records, _expect(_claim(records)))
    with records.transaction() as connection:
        age = text("UPDATE batches SET finished = now() - :age WHERE id <> :young")
        connection.execute(age, {"age": timedelta(days=7, seconds=1), "young": young})
    sweeper = Sweeper(records, signals, MemoryObjectStore(), settings)
    assert (sweeper.forget_dry_runs(), sweeper.forget_dry_runs()) == (25, 0)
    assert _read(records, project, young).finished is not None


def fail_test(held: HeldJob) -> None:
    raise AssertionError(held)


@pytest.fixture
def make_keeper(records: Database, signals: Signals, settings: Settings) -> MakeKeeper:
    """Makes a keeper of jobs that loads lists in a way of one's own, and checks no sources."""

    def make(
        load: Callable[[HeldJob], None], is_stopping: Callable[[], bool] = lambda: False
    ) -> JobKeeper:
        perform = {JobKind.LOAD: load, JobKind.CHECK: fail_test}
        return JobKeeper(records, signals, settings, "worker-1", perform, is_stopping)

    return make


def test_a_list_whose_names_another_list_is_reserving_waits_for_it_and_loses_no_try(
    records: Database, project: Project, make_keeper: MakeKeeper
) -> None:
    batch_id = _order(records, project)
    tried = threading.Event()

    def find_locked(held: HeldJob) -> None:
        tried.set()
        raise DatabaseUnavailable("PostgreSQL did not get to it in time.")

    keeper = make_keeper(find_locked)
    query = text("SELECT tries, next_attempt_at > now() AS waits FROM batch_jobs")

    def read_job() -> tuple[int, bool]:
        with records.transaction() as connection:
            tries, waits = connection.execute(query).one()
        return tries, waits

    keeper.beat()
    assert tried.wait(10)
    # Stopped before, the keeper would hand the job back in place of putting it off.
    wait_until(lambda: read_job()[1], "the job to be put off")
    assert keeper.stop(10)
    assert read_job() == (0, True)
    found = _read(records, project, batch_id)
    assert (found.status, found.error) == (BatchStatus.LOADING, None)


def test_a_worker_that_was_told_to_stop_claims_no_list_and_keeps_the_one_it_reads(
    records: Database, project: Project, make_keeper: MakeKeeper
) -> None:
    _order(records, project)
    began, goes_on, stopping = threading.Event(), threading.Event(), threading.Event()

    def load(held: HeldJob) -> None:
        began.set()
        assert goes_on.wait(10)
        held.check()

    keeper = make_keeper(load, stopping.is_set)
    keeper.beat()
    assert began.wait(10)
    stopping.set()
    _order(records, project)
    keeper.beat()

    query = text("SELECT worker, lease_until > now() AS is_held FROM batch_jobs ORDER BY 1")
    with records.transaction() as connection:
        assert connection.execute(query).all() == [("worker-1", True), (None, None)]
    goes_on.set()
    assert keeper.stop(10)
