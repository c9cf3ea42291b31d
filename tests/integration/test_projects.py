"""Limits of projects on real PostgreSQL: never passed, whoever runs beside, and in nobody's way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import func, select, text

from ingest.errors import ConflictError, DatabaseUnavailable, QuotaExceeded
from ingest.model import Lease, Limits, Project, Task, Usage
from ingest.states import Status
from storage.records import claims, completions, files, keys, names, projects, tasks, turns
from storage.records.completions import Completion
from storage.records.database import Database
from storage.records.tables import files as files_table
from storage.records.tables import projects as projects_table
from tests.integration.examples import (
    Claim,
    MakeTask,
    complete_task,
    do_at_once,
    fail_task,
    let_wait_end,
    make_file,
    measure_wait_s,
    read_task,
    retry_later,
    try_claim,
)

# What a file of these tests has.
FILE_BYTES = 10
SetLimits = Callable[[Limits], None]


@pytest.fixture
def set_limits(records: Database, project: Project) -> SetLimits:
    """Sets the limits of the tests' project."""

    def set_them(limits: Limits) -> None:
        with records.transaction() as connection:
            projects.set_limits(connection, project.id, limits)

    return set_them


def _read_stored(records: Database, project: Project) -> tuple[int, int]:
    """Return what is counted, and what there is."""
    with records.transaction() as connection:
        _, usage = projects.read_limits(connection, project.id)
        query = select(func.coalesce(func.sum(files_table.c.filesize_bytes), 0))
        return usage.stored_bytes, connection.execute(query).scalar_one()


def _claim_at_once(records: Database, made: Sequence[Task], host_limit: int = 0) -> list[Lease]:
    """Claim each task in the same moment; return the leases that were to be had."""
    taken = do_at_once(lambda task: try_claim(records, task, host_limit=host_limit), made)
    return [lease for lease in taken if lease is not None]


def test_however_many_claim_at_once_no_more_of_a_project_run_than_may(
    records: Database, make_task: MakeTask, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_running=3))
    made = [make_task(url=f"http://host-{number}.invalid/a") for number in range(12)]
    leases = _claim_at_once(records, made)
    assert len(leases) == 3
    running = {lease.task.id for lease in leases}
    put_off = [task for task in made if task.id not in running]
    assert {read_task(records, task).status for task in put_off} == {Status.PENDING}
    assert all(0 < measure_wait_s(records, task) <= 2 for task in put_off)
    # One has ended, whichever way: another may run, and no more.
    assert fail_task(records, leases[0])
    for task in put_off:
        let_wait_end(records, task)
    assert [try_claim(records, task) is not None for task in put_off[:3]] == [True, False, False]


@pytest.mark.parametrize("commits", [True, False], ids=["commits", "rolls back"])
def test_a_claim_waits_for_the_one_before_it_to_count_it(
    commits: bool,  # noqa: FBT001
    records: Database,
    make_task: MakeTask,
    set_limits: SetLimits,
) -> None:
    set_limits(Limits(max_running=1))
    # Nothing but their project is the same, not even the worker.
    first, second = make_task(url="http://one.invalid/"), make_task(url="http://two.invalid/")
    with ThreadPoolExecutor(1) as pool, records.transaction() as connection:
        assert claims.claim(connection, first.id, "worker-1", 60) is not None
        other = pool.submit(try_claim, records, second, "worker-2")
        with pytest.raises(TimeoutError):
            other.result(0.3)
        if commits:
            connection.commit()
        else:
            connection.rollback()
        assert (other.result(10) is None) == commits


def test_limits_of_hosts_and_projects_hold_together_and_nobody_waits_for_ever(
    records: Database, make_task: MakeTask, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_running=5))
    # Four for each of three hosts, claimed across each other.
    made = [make_task(url=f"http://host-{number % 3}.invalid/a") for number in range(12)]
    leases = _claim_at_once(records, made, host_limit=2)
    on_hosts = Counter(lease.task.order.url for lease in leases)
    # Three hosts of two would be six.
    assert sum(on_hosts.values()) == 5
    assert max(on_hosts.values()) == 2


def test_the_limit_of_one_project_holds_no_other_up(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_running=2))
    with records.transaction() as connection:
        other = projects.ensure_project(connection, "other", "other")
    mine = [make_task() for _ in range(5)]
    with records.transaction() as connection:
        theirs = [
            tasks.create(
                connection,
                other,
                mine[0].order,
                object_key=None,
                max_attempts=5,
                request_id="req_tests",
                woken=False,
            )
            for _ in range(3)
        ]

    def pick() -> set[str]:
        with records.transaction() as connection:
            return set(turns.pick(connection, 10, 0)[0])

    assert pick() == {mine[0].id, mine[1].id, *(task.id for task in theirs)}
    # What was woken counts, and so does what runs.
    assert pick() == set()
    lease = claim(mine[0])
    assert pick() == set()
    assert fail_task(records, lease)
    assert pick() == {mine[2].id}
    set_limits(Limits())
    assert pick() == {mine[3].id, mine[4].id}


def test_a_limit_of_none_lets_nothing_run_and_harms_nothing(
    records: Database, make_task: MakeTask, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_running=0))
    task = make_task()
    assert try_claim(records, task) is None
    assert read_task(records, task).attempt == 0


def test_a_project_stores_no_more_than_it_may_whoever_completes_at_once(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    leases = [claim(make_task()) for _ in range(8)]
    set_limits(Limits(max_stored_bytes=3 * FILE_BYTES + 5))

    def complete(lease: Lease) -> bool:
        try:
            return complete_task(records, lease)
        except QuotaExceeded:
            return False

    done = do_at_once(complete, leases)
    assert sum(done) == 3
    assert _read_stored(records, project) == (3 * FILE_BYTES, 3 * FILE_BYTES)
    # Nothing was written of the others.
    left = [lease for lease, ended in zip(leases, done, strict=True) if not ended]
    assert {read_task(records, lease.task).status for lease in left} == {Status.PROCESSING}
    assert fail_task(records, left[0])


def test_what_is_deleted_may_be_stored_again(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_stored_bytes=FILE_BYTES))
    first, second = claim(make_task()), claim(make_task())
    assert (first.room_bytes, second.room_bytes) == (FILE_BYTES, FILE_BYTES)
    assert complete_task(records, first)
    with pytest.raises(QuotaExceeded):
        complete_task(records, second)
    assert claim(make_task()).room_bytes == 0
    with records.transaction() as connection:
        removed = files.remove(connection, project.id, first.task.file_id)
        assert removed is not None
        projects.give_back(connection, project.id, removed.filesize_bytes)
    assert _read_stored(records, project) == (0, 0)
    assert complete_task(records, second)


def test_an_attempt_that_lost_its_lease_takes_no_room(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_stored_bytes=FILE_BYTES))
    lease = claim(make_task())
    assert not complete_task(records, replace(lease, attempt=lease.attempt + 1))
    assert _read_stored(records, project) == (0, 0)
    assert complete_task(records, lease)


def test_a_limit_that_is_set_while_files_come_and_go_counts_each_of_them(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    leases = [claim(make_task()) for _ in range(60)]

    def come_and_go(lease: Lease) -> None:
        assert complete_task(records, lease)
        if int(lease.task.id[-1], 36) % 3 == 0:
            with records.transaction() as connection:
                removed = files.remove(connection, project.id, lease.task.file_id)
                assert removed is not None
                projects.give_back(connection, project.id, removed.filesize_bytes)

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(come_and_go, lease) for lease in leases]
        while not all(one.done() for one in running):
            set_limits(Limits(max_stored_bytes=10**6))
            set_limits(Limits())
            set_limits(Limits(max_stored_bytes=10**6))
        for one in running:
            one.result()
    counted, there = _read_stored(records, project)
    assert counted == there > 0


def test_a_limit_that_waits_for_a_file_to_come_counts_it(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    lease = claim(make_task())
    with ThreadPoolExecutor(1) as pool, records.transaction() as connection:
        assert (
            completions.complete(connection, lease, make_file(lease), FILE_BYTES) is Completion.DONE
        )
        setting = pool.submit(set_limits, Limits(max_stored_bytes=100))
        with pytest.raises(TimeoutError):
            setting.result(0.3)
        connection.commit()
        setting.result(10)
    assert _read_stored(records, project) == (FILE_BYTES, FILE_BYTES)


def test_a_file_that_comes_while_a_limit_is_set_waits_and_is_counted(
    records: Database, make_task: MakeTask, claim: Claim, project: Project
) -> None:
    lease = claim(make_task())
    with ThreadPoolExecutor(1) as pool, records.transaction() as connection:
        projects.set_limits(connection, project.id, Limits(max_stored_bytes=100))
        # It begins before the limit is there, and ends after it.
        completing = pool.submit(complete_task, records, lease)
        with pytest.raises(TimeoutError):
            completing.result(0.3)
        connection.commit()
        assert completing.result(10)
    assert _read_stored(records, project) == (FILE_BYTES, FILE_BYTES)


def test_a_limit_that_waits_for_a_file_to_go_does_not_count_it(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    lease = claim(make_task())
    assert complete_task(records, lease)
    with ThreadPoolExecutor(1) as pool, records.transaction() as connection:
        removed = files.remove(connection, project.id, lease.task.file_id)
        assert removed is not None
        projects.give_back(connection, project.id, removed.filesize_bytes)
        setting = pool.submit(set_limits, Limits(max_stored_bytes=100))
        with pytest.raises(TimeoutError):
            setting.result(0.3)
        connection.commit()
        setting.result(10)
    assert _read_stored(records, project) == (0, 0)


def test_a_project_without_a_limit_counts_nothing(
    records: Database, make_task: MakeTask, claim: Claim, project: Project
) -> None:
    lease = claim(make_task())
    assert lease.room_bytes is None
    assert complete_task(records, lease)
    with records.transaction() as connection:
        assert connection.execute(select(projects_table.c.stored_bytes)).scalar_one() == 0
    # It is added up where somebody asks.
    assert _read_stored(records, project) == (FILE_BYTES, FILE_BYTES)


def test_what_a_project_takes_is_told_with_a_limit_and_without(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    with records.transaction() as connection:
        other = projects.ensure_project(connection, "other", "other")
    for _ in range(2):
        assert complete_task(records, claim(make_task()))
    assert fail_task(records, claim(make_task()))
    for _ in range(3):
        claim(make_task())
    waiting = make_task()
    assert retry_later(records, claim(waiting))
    make_task(woken=True)
    for limits in (Limits(), Limits(5, 10**6)):
        set_limits(limits)
        with records.transaction() as connection:
            assert projects.read_limits(connection, project.id) == (
                limits,
                Usage(running=3, pending=2, files=2, stored_bytes=2 * FILE_BYTES),
            )
            assert projects.read_limits(connection, other.id) == (Limits(), Usage(0, 0, 0, 0))


def test_adding_up_what_a_project_stores_reads_no_file(
    records: Database, make_task: MakeTask, claim: Claim, project: Project
) -> None:
    for _ in range(40):
        assert complete_task(records, claim(make_task()))
    with records.transaction() as connection:
        # A table this small is read whole unless told otherwise.
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        query = "SELECT sum(filesize_bytes), count(*) FROM files WHERE project_id = :project_id"
        plan = connection.execute(text(f"EXPLAIN {query}"), {"project_id": project.id})
        assert any("Index Only Scan using files_usage_idx" in line for line in plan.scalars())


def test_a_file_that_many_delete_at_once_is_given_back_once(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_stored_bytes=10**6))
    gone, *kept = [claim(make_task()) for _ in range(7)]
    assert complete_task(records, gone)

    def delete() -> bool:
        with records.transaction() as connection:
            removed = files.remove(connection, project.id, gone.task.file_id)
            if removed is not None:
                projects.give_back(connection, project.id, removed.filesize_bytes)
        return removed is not None

    rest = [partial(complete_task, records, lease) for lease in kept]
    actions: list[Callable[[], bool]] = [*[delete] * 6, *rest]
    done = do_at_once(lambda action: action(), actions)
    assert sum(done[:6]) == 1
    assert all(done[6:])
    assert _read_stored(records, project) == (6 * FILE_BYTES, 6 * FILE_BYTES)


def test_a_connection_that_dies_before_its_commit_has_counted_nothing(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    set_limits(Limits(max_stored_bytes=FILE_BYTES))
    lease = claim(make_task())

    def die() -> None:
        with records.transaction() as dying:
            assert (
                completions.complete(dying, lease, make_file(lease), FILE_BYTES) is Completion.DONE
            )
            session = dying.execute(select(func.pg_backend_pid())).scalar_one()
            with records.transaction() as connection:
                connection.execute(select(func.pg_terminate_backend(session, 5000)))

    with pytest.raises(DatabaseUnavailable):
        die()
    assert _read_stored(records, project) == (0, 0)
    assert complete_task(records, lease)


def test_two_who_set_one_limit_each_set_both(
    records: Database, project: Project, set_limits: SetLimits
) -> None:
    def lift_running() -> None:
        with records.transaction() as connection:
            projects.hold_alone(connection, project.id)
            before, _ = projects.read_limits(connection, project.id)
            projects.set_limits(connection, project.id, replace(before, max_running=None))

    set_limits(Limits(4, 1000))
    with ThreadPoolExecutor(1) as pool, records.transaction() as connection:
        projects.hold_alone(connection, project.id)
        other = pool.submit(lift_running)
        with pytest.raises(TimeoutError):
            other.result(0.2)
        projects.set_limits(connection, project.id, Limits(4, 2000))
        connection.commit()
        other.result(10)
    with records.transaction() as connection:
        assert projects.read_limits(connection, project.id)[0] == Limits(None, 2000)


def test_a_key_knows_when_its_project_is_full(
    records: Database, make_task: MakeTask, claim: Claim, project: Project, set_limits: SetLimits
) -> None:
    with records.transaction() as connection:
        secret = keys.create_key(connection, project.id, "tests")[1]

    def is_full() -> bool:
        with records.transaction() as connection:
            access = keys.find_access(connection, secret)
        assert access is not None
        return access.is_full

    assert not is_full()
    set_limits(Limits(max_stored_bytes=FILE_BYTES))
    assert not is_full()
    assert complete_task(records, claim(make_task()))
    assert is_full()
    set_limits(Limits())
    assert not is_full()


def test_a_new_project_has_a_name_and_a_place_of_its_own(
    records: Database, make_task: MakeTask, project: Project
) -> None:
    limits = Limits(4, 1000)
    with records.transaction() as connection:
        made = projects.create_project(connection, "new", "place", limits)
        assert projects.read_limits(connection, made.id)[0] == limits
        assert projects.find_project(connection, "new") == made
        assert projects.find_project(connection, made.id) == made
        assert projects.find_project(connection, "none") is None
        assert projects.list_projects(connection) == [project, made]
        for name, prefix in (("new", "elsewhere"), ("newer", "place")):
            with pytest.raises(ConflictError, match="'new' has the"):
                projects.create_project(connection, name, prefix, Limits())
    task = make_task()
    with records.transaction() as connection:
        # As a project without a prefix may have.
        names.reserve(connection, project.id, task.id, "late/a.mp4")
        with pytest.raises(ConflictError, match="under 'late/'"):
            projects.create_project(connection, "late", "late", Limits())
        assert projects.create_project(connection, "lat", "lat", Limits()).name == "lat"
