"""The dispatch window and the sweep, on real PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from ingest.config import Settings
from ingest.errors import DatabaseUnavailable, LeaseLost, RedisUnavailable
from ingest.states import Status
from storage.objects.memory import MemoryObjectStore
from storage.records import leases, lookups
from storage.records.database import Database
from storage.signals import INGEST_QUEUE, Signals
from tests.integration.examples import Claim, MakeTask, let_wait_end
from workers.dispatch import Dispatcher
from workers.leases import LeaseKeeper
from workers.sweep import Sweeper

WINDOW = 4


@pytest.fixture
def small(settings: Settings) -> Settings:
    """Settings with a window of four, which resends after a minute."""
    return settings.model_copy(
        update={"dispatch_window": 1, "worker_slots": WINDOW, "resend_after_s": 60.0}
    )


def _send_to(signals: Signals) -> Callable[[Sequence[str]], None]:
    return partial(signals.put_messages, INGEST_QUEUE)


def _list_queue(signals: Signals) -> list[str]:
    return [str(task_id) for task_id in reversed(signals._redis.lrange(INGEST_QUEUE, 0, -1))]


def test_the_window_is_filled_oldest_first_and_never_over(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask, claim: Claim
) -> None:
    made = sorted((make_task() for _ in range(WINDOW + 3)), key=lambda task: task.id)
    ids = [task.id for task in made]
    dispatcher = Dispatcher(records, signals, small, _send_to(signals))

    assert dispatcher.dispatch() == WINDOW
    assert dispatcher.dispatch() == 0
    assert _list_queue(signals) == ids[:WINDOW]
    # Two were taken and claimed by workers: two places are free.
    signals._redis.rpop(INGEST_QUEUE, 2)
    assert dispatcher.dispatch() == 0
    for task in made[:2]:
        claim(task)
    assert dispatcher.dispatch() == 2
    assert _list_queue(signals) == ids[2 : WINDOW + 2]


def test_the_window_grows_with_the_slots_of_the_workers_that_live(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask
) -> None:
    for _ in range(12):
        make_task()
    dispatcher = Dispatcher(records, signals, small, _send_to(signals))
    assert dispatcher.dispatch() == WINDOW
    signals.report_worker("worker-1", 6)
    signals.report_worker("worker-2", 4)
    assert dispatcher.dispatch() == 10 - WINDOW


def test_a_nudge_is_no_reason_to_fill_a_window_that_is_half_full(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask, claim: Claim
) -> None:
    made = [make_task() for _ in range(9)]
    dispatcher = Dispatcher(records, signals, small, _send_to(signals))
    assert dispatcher.dispatch(nudged=True) == WINDOW
    for task in made[:2]:
        signals._redis.rpop(INGEST_QUEUE)
        claim(task)
        # Three in the queue of four are enough, two are not.
        assert dispatcher.dispatch(nudged=True) == (0 if task is made[0] else 2)


def test_a_full_host_stops_nobody_else(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask
) -> None:
    for _ in range(5):
        make_task(url="http://busy.invalid/")
    other = make_task(url="http://free.invalid/")
    narrow = small.model_copy(update={"host_limit": 2})
    dispatcher = Dispatcher(records, signals, narrow, _send_to(signals))
    assert dispatcher.dispatch() == 3
    assert other.id in _list_queue(signals)
    assert dispatcher.dispatch() == 0


def test_dispatchers_who_work_at_once_send_nothing_twice_and_never_more_than_the_window(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask
) -> None:
    ids = sorted(make_task().id for _ in range(30))
    wide = small.model_copy(update={"dispatch_window": 5})

    def dispatch(_: int) -> int:
        return Dispatcher(records, signals, wide, _send_to(signals)).dispatch()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(dispatch, range(4))) == 5 * WINDOW
    assert sorted(_list_queue(signals)) == ids[: 5 * WINDOW]


def test_wake_ups_that_could_not_be_sent_are_sent_by_the_next_call(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask
) -> None:
    ids = sorted(make_task().id for _ in range(3))

    def break_off(task_ids: Sequence[str]) -> None:
        assert list(task_ids) == ids
        raise RedisUnavailable("Redis does not take messages.")

    with pytest.raises(RedisUnavailable):
        Dispatcher(records, signals, small, break_off).dispatch()

    assert Dispatcher(records, signals, small, _send_to(signals)).dispatch() == 3
    assert _list_queue(signals) == ids


def test_a_nudged_dispatcher_looks_once_a_second_at_what_changes_by_itself(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask
) -> None:
    now = [100.0]
    dispatcher = Dispatcher(records, signals, small, _send_to(signals), lambda: now[0])

    def make_due() -> str:
        task = make_task()
        let_wait_end(records, task)
        return task.id

    make_due()
    assert dispatcher.dispatch(nudged=True) == 1
    due, ready = make_due(), make_task().id
    assert dispatcher.dispatch(nudged=True) == 1
    assert _list_queue(signals)[1:] == [ready]
    signals._redis.delete(INGEST_QUEUE)
    now[0] += 1.0
    assert dispatcher.dispatch(nudged=True) == 1
    later = make_due()
    assert dispatcher.dispatch() == 1
    assert _list_queue(signals) == [due, later]


def test_a_wake_up_that_nobody_answered_is_sent_again(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask, claim: Claim
) -> None:
    answered, lost = make_task(), make_task()
    assert Dispatcher(records, signals, small, _send_to(signals)).dispatch() == 2
    claim(answered)
    # Redis was emptied; a minute later the row is still pending.
    signals._redis.delete(INGEST_QUEUE)
    impatient = small.model_copy(update={"resend_after_s": 0.0})
    assert Dispatcher(records, signals, impatient, _send_to(signals)).dispatch() == 1
    assert _list_queue(signals) == [lost.id]


def test_without_redis_nothing_is_marked_as_woken(
    records: Database, signals: Signals, small: Settings, make_task: MakeTask, closed_port: int
) -> None:
    task = make_task()
    gone = Signals(f"redis://127.0.0.1:{closed_port}/0")
    with pytest.raises(RedisUnavailable):
        Dispatcher(records, gone, small, _send_to(signals)).dispatch()
    assert Dispatcher(records, signals, small, _send_to(signals)).dispatch() == 1
    assert _list_queue(signals) == [task.id]


def test_a_sweep_gives_back_what_has_attempts_left_and_ends_what_has_not(
    settings: Settings, records: Database, signals: Signals, make_task: MakeTask, claim: Claim
) -> None:
    again, last, running = make_task(), make_task(max_attempts=1), make_task()
    for task in (again, last):
        claim(task, lease_s=-1)
    claim(running)

    with signals.listen_for_end(last.id) as wait:
        assert Sweeper(records, signals, MemoryObjectStore(), settings).sweep() == 2
        # Whoever waits for a task that ended here is woken as by a worker.
        assert wait(5)

    with records.transaction() as connection:
        counts = lookups.count_by_status(connection)
    assert (counts[Status.PENDING], counts[Status.FAILED], counts[Status.PROCESSING]) == (1, 1, 1)
    assert Sweeper(records, signals, MemoryObjectStore(), settings).sweep() == 0


def test_a_sweep_is_done_without_redis_too(
    settings: Settings, records: Database, make_task: MakeTask, claim: Claim, closed_port: int
) -> None:
    claim(make_task(max_attempts=1), lease_s=-1)
    gone = Signals(f"redis://127.0.0.1:{closed_port}/0")
    assert Sweeper(records, gone, MemoryObjectStore(), settings).sweep() == 1


def test_a_sweep_without_a_database_says_so(
    settings: Settings, signals: Signals, closed_port: int
) -> None:
    gone = Database(f"postgresql+psycopg://user@127.0.0.1:{closed_port}/none")
    with pytest.raises(DatabaseUnavailable):
        Sweeper(gone, signals, MemoryObjectStore(), settings).sweep()
    gone.close()


def test_a_keeper_keeps_leases_alive_tells_progress_and_gives_a_sign_of_life(
    records: Database, signals: Signals, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    lease = claim(task, lease_s=0.5)
    keeper = LeaseKeeper(records, signals, worker="worker-1", lease_s=60, heartbeat_s=1)
    with keeper.hold(lease, asked=0.0) as held:
        held.report(40, 100)
        keeper.beat()
        assert signals.list_workers() == ["worker-1"]
        assert signals.read_progress([task.id])[task.id].transferred_bytes == 40
        # The lease that would have run out in a moment is good for a minute.
        with records.transaction() as connection:
            assert leases.release_expired(connection) == {}
        held.check()
    keeper.stop()
    assert signals.list_workers() == []


def test_a_keeper_notices_a_lease_that_somebody_else_has(
    settings: Settings, records: Database, signals: Signals, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    lease = claim(task, lease_s=-1)
    keeper = LeaseKeeper(records, signals, worker="worker-1", lease_s=60, heartbeat_s=1)
    with keeper.hold(lease, asked=1e12) as held:
        held.check()
        Sweeper(records, signals, MemoryObjectStore(), settings).sweep()
        claim(task, "worker-2")
        keeper.beat()
        with pytest.raises(LeaseLost):
            held.check()
