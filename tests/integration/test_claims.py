"""Claims on real PostgreSQL: one attempt gets the lease, and host and suspicion are respected."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from ingest.errors import SourceTruncated
from ingest.model import Lease, Project, Task, TriedTask
from ingest.states import Status
from storage.records import claims, keys, leases
from storage.records.database import Database
from tests.integration.examples import (
    Claim,
    MakeTask,
    complete_task,
    do_at_once,
    fail_task,
    has_waiter,
    let_wait_end,
    list_attempts,
    measure_wait_s,
    read_columns,
    read_task,
    release_expired,
    retry_later,
    try_claim,
)
from tests.support.waiting import wait_until


def _lose_leases(records: Database, claim: Claim, task: Task, count: int) -> None:
    for _ in range(count):
        let_wait_end(records, task)
        claim(task, "worker-9", lease_s=-1)
        assert release_expired(records) == {task.id: Status.PENDING}
    let_wait_end(records, task)


def test_a_claim_takes_the_task_and_counts_the_attempt(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    lease = claim(task, "worker-7")

    assert (lease.attempt, lease.worker, lease.key_prefix) == (1, "worker-7", "prefix")
    found = read_task(records, task)
    assert (found.status, found.attempt) == (Status.PROCESSING, 1)
    assert found.started is not None
    (attempt,) = list_attempts(records, task)
    assert (attempt.number, attempt.worker, attempt.finished) == (1, "worker-7", None)


def test_a_key_finds_a_task_with_all_its_attempts(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    assert retry_later(records, claim(task), error=SourceTruncated("The source ended early."))
    let_wait_end(records, task)
    claim(task, "worker-9")
    with records.transaction() as connection:
        _, secret = keys.create_key(connection, task.project_id, "laptop")
        _, found = keys.find_access_and_task(connection, secret, task.id)
    assert found == TriedTask(read_task(records, task), list_attempts(records, task))
    assert [one.worker for one in found.attempts] == ["worker-1", "worker-9"]


def test_an_attempt_knows_what_the_one_before_ended_with(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    first = claim(task)
    assert first.previous_error is None
    error = SourceTruncated("The source ended early.")
    assert retry_later(records, first, error=error)
    let_wait_end(records, task)
    second = try_claim(records, task)
    assert second is not None
    assert second.previous_error == error.as_failure()


def test_a_column_that_a_migration_adds_breaks_no_worker_that_runs(
    records: Database, records_url: str, make_task: MakeTask, project: Project
) -> None:
    running = Database(records_url, pool_size=1)
    with records.transaction() as connection:
        secret = keys.create_key(connection, project.id, "laptop")[1]

    def use_all() -> None:
        # As often as it takes until psycopg prepares a statement.
        for _ in range(8):
            with running.look() as connection:
                assert claims.claim(connection, make_task().id, "worker-1", 60)
                assert keys.find_access(connection, secret)

    use_all()
    with records.transaction() as connection:
        for table in ("tasks", "projects", "keys"):
            connection.execute(text(f"ALTER TABLE {table} ADD COLUMN added integer"))
    try:
        use_all()
    finally:
        with records.transaction() as connection:
            for table in ("tasks", "projects", "keys"):
                connection.execute(text(f"ALTER TABLE {table} DROP COLUMN added"))
        running.close()


def test_of_many_who_claim_at_once_one_gets_the_lease(
    records: Database, make_task: MakeTask
) -> None:
    task = make_task()

    def claim(number: int) -> Lease | None:
        with records.look() as connection:
            return claims.claim(connection, task.id, f"worker-{number}", 60)

    leases = [lease for lease in do_at_once(claim, range(8)) if lease is not None]
    assert len(leases) == 1
    assert read_task(records, task).attempt == 1


@pytest.mark.parametrize("host_limit", [2, 1])
def test_a_claim_that_waited_for_the_row_takes_it_or_puts_it_off_as_it_is_then(
    host_limit: int, records: Database, make_task: MakeTask, claim: Claim
) -> None:
    claim(make_task())
    task = make_task()
    with ThreadPoolExecutor(1) as pool:
        with records.transaction() as connection:
            connection.execute(
                text("UPDATE tasks SET priority = 7, woken = now() WHERE id = :id"), {"id": task.id}
            )
            claiming = pool.submit(try_claim, records, task, host_limit=host_limit)
            wait_until(lambda: has_waiter(records), "the claim to wait for the row")
        lease = claiming.result()

    if host_limit == 2:
        assert lease is not None
        assert lease.task.order.priority == 7
        assert read_task(records, task).status is Status.PROCESSING
    else:
        assert lease is None
        assert 0 < measure_wait_s(records, task) <= 2
        assert read_columns(records, task, "priority", "woken", "attempt") == (7, None, 0)


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
            assert (complete_task if ended == "complete" else fail_task)(records, lease)
    with records.look() as connection:
        assert claims.claim(connection, task_id, "worker-2", 60) is None


def test_leases_are_extended_for_those_who_hold_them(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    held, expired, ended = make_task(), make_task(), make_task()
    for task in (held, expired):
        claim(task, lease_s=-1)
    assert fail_task(records, claim(ended))
    pairs = [(held.id, 1), (expired.id, 2), (ended.id, 1), ("task_unknown", 1)]

    with records.transaction() as connection:
        assert leases.extend_leases(connection, pairs, 60) == frozenset({(held.id, 1)})

    # The one that was extended in time is nobody else's.
    assert release_expired(records) == {expired.id: Status.PENDING}


def test_a_task_that_waits_is_claimed_when_its_time_has_come_and_not_before(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    assert retry_later(records, claim(task), after_s=60)
    waiting = read_task(records, task)
    assert try_claim(records, task) is None
    assert read_task(records, task) == waiting

    let_wait_end(records, task)
    second = try_claim(records, task)

    assert second is not None
    found = read_task(records, task)
    assert (second.attempt, found.tries) == (2, 2)
    assert (found.error, found.next_attempt_at) == (None, None)
    assert found.started == waiting.started


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
    held = [try_claim(records, task, host_limit=2) for task in (first, second)]
    assert None not in held
    assert try_claim(records, third, host_limit=2) is None

    found = read_task(records, third)
    assert (found.status, found.attempt, found.tries) == (Status.PENDING, 0, 0)
    assert found.error is None
    assert 0 < measure_wait_s(records, third) <= 2
    assert read_columns(records, third, "woken") == (None,)
    assert try_claim(records, other, host_limit=2) is not None

    assert held[0] is not None
    assert fail_task(records, held[0])
    let_wait_end(records, third)
    assert try_claim(records, third, host_limit=2) is not None


def test_a_limit_of_none_lets_any_number_fetch_from_one_host(
    records: Database, make_task: MakeTask
) -> None:
    assert all(try_claim(records, make_task(), host_limit=0) for _ in range(5))


def test_of_many_who_claim_from_one_host_at_once_as_many_as_may_get_a_lease(
    records: Database, make_task: MakeTask
) -> None:
    made = [make_task() for _ in range(8)]

    def claim(task: Task) -> bool:
        return try_claim(records, task, f"worker-{task.id}", host_limit=3) is not None

    assert do_at_once(claim, made).count(True) == 3


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
    running = try_claim(records, first)
    assert running is not None

    refused = try_claim(records, second) is None

    assert refused is suspect
    if suspect:
        assert 0 < measure_wait_s(records, second) <= 2
        # It takes the place of no other task, and another worker may run it.
        assert try_claim(records, make_task()) is not None
        let_wait_end(records, second)
        assert try_claim(records, second, "worker-2") is not None


def test_a_suspect_is_none_any_more_once_an_attempt_of_it_has_ended_by_itself(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    first, second = make_task(), make_task()
    for task in (first, second):
        _lose_leases(records, claim, task, 2)
    running = try_claim(records, first)
    assert running is not None
    assert retry_later(records, running, after_s=-1)
    assert try_claim(records, first) is not None
    assert try_claim(records, second) is not None


def test_of_suspects_that_a_worker_claims_at_once_one_gets_a_lease(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    made = [make_task() for _ in range(4)]
    for task in made:
        _lose_leases(records, claim, task, 2)

    def take(task: Task) -> bool:
        return try_claim(records, task) is not None

    assert do_at_once(take, made).count(True) == 1
