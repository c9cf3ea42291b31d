"""What is said through Redis: progress, ends, queues, and who is alive."""

from __future__ import annotations

import threading
import time

import pytest
from pydantic import SecretStr

from api.queue import WakeQueue
from ingest.config import Settings
from ingest.errors import RedisUnavailable
from ingest.model import Transfer
from storage.signals import INGEST_QUEUE, WEBHOOK_QUEUE, Signals
from tests.integration.examples import find_spare_redis
from tests.support.waiting import wait_until
from workers.broker import DELIVER, RUN, create_celery, make_wake, read_wake


@pytest.fixture
def same_redis(settings: Settings) -> Settings:
    """Settings with the Redis database of `signals`."""
    url = find_spare_redis(settings)
    return settings.model_copy(update={"redis_url": SecretStr(url)})


def test_progress_is_read_of_those_tasks_that_have_told_any(signals: Signals) -> None:
    signals.report_progress("task_a", Transfer(50, 100, 12.4))
    signals.report_progress("task_b", Transfer(7, None, 0.0))
    assert signals.read_progress(["task_a", "task_b", "task_c"]) == {
        "task_a": Transfer(50, 100, 12),
        "task_b": Transfer(7, None, 0),
    }
    assert signals.read_progress([]) == {}


def test_progress_is_forgotten_after_a_minute_of_silence(signals: Signals) -> None:
    signals.report_progress("task_a", Transfer(1, 2, 3))
    assert 50 < signals._redis.ttl("headrace:progress:task_a") <= 60


def test_an_end_wakes_who_listens_and_drops_the_progress(signals: Signals) -> None:
    signals.report_progress("task_a", Transfer(1, 2, 3))
    with signals.listen_for_end("task_a") as wait:
        signals.announce_end("task_b")
        assert not wait(0.05)
        signals.announce_end("task_a")
        assert wait(5)
    assert signals.read_progress(["task_a"]) == {}


def test_an_end_is_heard_from_another_thread_at_once(signals: Signals) -> None:
    with signals.listen_for_end("task_a") as wait:
        began = time.monotonic()
        later = threading.Timer(0.2, signals.announce_end, ["task_a"])
        later.start()
        assert wait(10)
        assert time.monotonic() - began < 2
        later.join()


def test_many_may_listen_for_one_end(signals: Signals) -> None:
    with signals.listen_for_end("task_a") as first, signals.listen_for_end("task_a") as second:
        signals.announce_end("task_a")
        assert first(5)
        assert second(5)


def test_a_wait_is_no_longer_than_asked(signals: Signals) -> None:
    with signals.listen_for_end("task_a") as wait:
        began = time.monotonic()
        assert not wait(0.3)
        assert 0.2 < time.monotonic() - began < 1


def test_listening_gives_its_connection_back(signals: Signals) -> None:
    for _ in range(30):
        with signals.listen_for_end("task_a"):
            pass
    clients = signals._redis.client_list()
    assert len([one for one in clients if int(one["sub"])]) == 0


def test_a_worker_is_alive_from_its_sign_of_life_to_its_farewell(signals: Signals) -> None:
    assert signals.list_workers() == []
    for name in ("worker-b", "worker-a"):
        signals.report_worker(name)
    assert signals.list_workers() == ["worker-a", "worker-b"]
    signals.dismiss_worker("worker-a")
    signals.dismiss_worker("worker-a")
    assert signals.list_workers() == ["worker-b"]


def test_a_worker_that_fell_silent_is_left_out_and_forgotten(signals: Signals) -> None:
    signals.report_worker("silent", ttl_s=0.05)
    signals.report_worker("alive", ttl_s=60)
    wait_until(lambda: signals.list_workers() == ["alive"], "a worker's word to be over", 5)
    signals.report_worker("alive")
    assert signals._redis.zrange("headrace:workers", 0, -1) == ["alive"]


def test_the_slots_of_the_workers_that_live_are_counted(signals: Signals) -> None:
    assert signals.count_slots() == 0
    signals.report_worker("worker-a", 4)
    signals.report_worker("worker-b", 16)
    assert signals.count_slots() == 20
    signals.dismiss_worker("worker-b")
    signals.report_worker("silent", 8, ttl_s=0.05)
    wait_until(lambda: signals.count_slots() == 4, "a worker's word to be over", 5)
    # All is forgotten, and told again with the next sign of life.
    signals._redis.flushdb()
    assert signals.count_slots() == 0
    signals.report_worker("worker-a", 4)
    assert signals.count_slots() == 4


def test_many_nudges_are_one_and_are_taken_once(signals: Signals) -> None:
    for _ in range(5):
        signals.nudge()
    assert signals.wait_for_nudge(1)
    assert not signals.wait_for_nudge(0.1)


def test_a_nudge_ends_a_wait_at_once_and_so_does_the_end_of_a_task(signals: Signals) -> None:
    for nudge in (signals.nudge, lambda: signals.announce_end("task_a")):
        began = time.monotonic()
        later = threading.Timer(0.2, nudge)
        later.start()
        # Longer than any other answer of Redis may take.
        assert signals.wait_for_nudge(1.9)
        assert time.monotonic() - began < 1.5
        later.join()


def test_a_wait_for_a_nudge_may_last_longer_than_any_other_answer(signals: Signals) -> None:
    began = time.monotonic()
    assert not signals.wait_for_nudge(1.5)
    assert time.monotonic() - began > 1.4


def test_a_loop_of_a_beat_is_known_until_its_word_expires(signals: Signals) -> None:
    assert signals.list_beats() == []
    signals.report_beat("sweep", 60)
    signals.report_beat("dispatch", 0.2)
    assert signals.list_beats() == ["dispatch", "sweep"]
    wait_until(lambda: signals.list_beats() == ["sweep"], "the word to expire")


def test_a_queue_is_counted(signals: Signals) -> None:
    assert signals.count_queued("ingest") == 0
    signals._redis.rpush("ingest", "a", "b")
    assert signals.count_queued("ingest") == 2


def test_a_redis_that_is_not_there_is_unavailable_at_once(closed_port: int) -> None:
    gone = Signals(f"redis://:s3cr3t@127.0.0.1:{closed_port}/0")
    began = time.monotonic()
    for ask in (
        gone.check,
        lambda: gone.count_queued("ingest"),
        lambda: gone.report_progress("task_a", Transfer(1, 2, 3)),
        lambda: gone.read_progress(["task_a"]),
        lambda: gone.announce_end("task_a"),
        lambda: gone.report_worker("a"),
        gone.list_workers,
        gone.count_slots,
        gone.nudge,
        lambda: gone.wait_for_nudge(1),
        gone.list_beats,
    ):
        with pytest.raises(RedisUnavailable) as caught:
            ask()
        assert "s3cr3t" not in str(caught.value)
    with pytest.raises(RedisUnavailable), gone.listen_for_end("task_a"):
        pass
    assert time.monotonic() - began < 3
    gone.close()


def test_a_wrong_password_is_a_redis_that_does_not_answer(signals: Signals) -> None:
    kept = signals._redis.connection_pool.connection_kwargs
    wrong = Signals(f"redis://:wrong@127.0.0.1:{kept['port']}/0")
    with pytest.raises(RedisUnavailable):
        wrong.check()
    wrong.close()


@pytest.mark.parametrize(("name", "queue"), [(RUN, INGEST_QUEUE), (DELIVER, WEBHOOK_QUEUE)])
def test_what_celery_sends_is_taken_in_its_order_and_read(
    name: str, queue: str, same_redis: Settings, signals: Signals
) -> None:
    wake = make_wake(create_celery(same_redis), name, queue)
    assert signals.take_message(queue) is None
    for wanted_id in ("task_a", "task_b"):
        wake(wanted_id)
    taken = [signals.take_message(queue) for _ in range(3)]
    assert [None if one is None else read_wake(one, name) for one in taken] == [
        "task_a",
        "task_b",
        None,
    ]


def test_what_the_api_sends_is_read_as_well(same_redis: Settings, signals: Signals) -> None:
    sender = WakeQueue(same_redis, signals)
    assert sender.wake("task_a")
    sender.close()
    message = signals.take_message(INGEST_QUEUE)
    assert message is not None
    assert read_wake(message, RUN) == "task_a"
