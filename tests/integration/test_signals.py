"""What is said through Redis: progress, ends, queues, and who is alive."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection

import pytest
from pydantic import SecretStr

from api.queue import WakeQueue
from ingest.config import Settings
from ingest.errors import RedisUnavailable
from ingest.model import JsonObject, Transfer
from storage.signals import INGEST_QUEUE, WEBHOOK_QUEUE, End, Signals
from storage.wakes import DELIVER, QUEUES, RUN, read_wake, wake
from tests.integration.examples import find_spare_redis
from tests.support.waiting import wait_until
from workers.broker import create_celery


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
        signals.announce_end(End("task_b"))
        assert not wait(0.05)
        signals.announce_end(End("task_a"))
        assert wait(5)
    assert signals.read_progress(["task_a"]) == {}


def test_an_end_is_heard_from_another_thread_at_once(signals: Signals) -> None:
    with signals.listen_for_end("task_a") as wait:
        began = time.monotonic()
        later = threading.Timer(0.2, signals.announce_end, [End("task_a")])
        later.start()
        assert wait(10)
        assert time.monotonic() - began < 2
        later.join()


def test_many_may_listen_for_one_end(signals: Signals) -> None:
    with signals.listen_for_end("task_a") as first, signals.listen_for_end("task_a") as second:
        signals.announce_end(End("task_a"))
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
    for nudge in (signals.nudge, lambda: signals.announce_end(End("task_a"))):
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
        lambda: gone.announce_end(End("task_a")),
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


@pytest.mark.parametrize("name", [RUN, DELIVER])
def test_wake_ups_are_taken_in_the_order_they_were_sent_in(name: str, signals: Signals) -> None:
    wake(signals, name, [])
    assert signals.take_message(QUEUES[name]) is None
    wake(signals, name, ["task_a", "task_b"])
    wake(signals, name, ["task_c"])
    taken = [signals.take_message(QUEUES[name]) for _ in range(4)]
    assert [None if one is None else read_wake(one, name) for one in taken] == [
        "task_a",
        "task_b",
        "task_c",
        None,
    ]


def test_an_end_is_said_by_the_way_on_which_the_next_message_is_taken(signals: Signals) -> None:
    wake(signals, RUN, ["task_b"])
    with signals.listen_for_end("task_a") as wait:
        taken = signals.take_message(INGEST_QUEUE, End("task_a", is_told=False))
        assert wait(5)
    assert taken is not None
    assert read_wake(taken, RUN) == "task_b"
    assert signals.wait_for_nudge(1)
    assert not signals.wait_for_nudge(0.1, WEBHOOK_QUEUE)
    assert signals.take_message(INGEST_QUEUE, End("task_b")) is None
    assert signals.wait_for_nudge(1, WEBHOOK_QUEUE)


def test_a_message_is_taken_also_where_what_is_said_before_it_is_refused(signals: Signals) -> None:
    wake(signals, RUN, ["task_b"])
    # What a nudge is pushed to is a list.
    signals._redis.set("headrace:nudge", "no list")
    taken = signals.take_message(INGEST_QUEUE, End("task_a"))
    assert taken is not None
    assert read_wake(taken, RUN) == "task_b"
    signals._redis.delete("headrace:nudge", INGEST_QUEUE)
    signals._redis.set(INGEST_QUEUE, "no list")
    with pytest.raises(RedisUnavailable):
        signals.take_message(INGEST_QUEUE, End("task_a"))


@pytest.mark.parametrize("ended", [None, End("task_a")])
def test_a_message_that_is_no_text_is_passed_over(ended: End | None, signals: Signals) -> None:
    signals._redis.rpush(INGEST_QUEUE, b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        signals.take_message(INGEST_QUEUE, ended)
    wake(signals, RUN, ["task_b"])
    taken = signals.take_message(INGEST_QUEUE, ended)
    assert taken is not None
    assert read_wake(taken, RUN) == "task_b"


@pytest.mark.parametrize("name", [RUN, DELIVER])
def test_a_wake_up_is_written_as_celery_writes_one(
    name: str, same_redis: Settings, signals: Signals
) -> None:
    with create_celery(same_redis) as app, app.connection_for_write() as connection:
        app.send_task(
            name, args=["task_a"], queue=QUEUES[name], ignore_result=True, connection=connection
        )
    theirs = signals.take_message(QUEUES[name])
    assert theirs is not None
    assert read_wake(theirs, name) == "task_a"
    wake(signals, name, ["task_a"])
    ours = signals.take_message(QUEUES[name])
    assert ours is not None
    left_out = {"shadow", "group_index", "argsrepr", "kwargsrepr", "origin"} | {
        "replaced_task_nesting", "stamped_headers", "stamps",
    }  # fmt: skip
    assert _list_words(json.loads(ours)) == _list_words(json.loads(theirs), left_out)


@pytest.mark.parametrize("name", [RUN, DELIVER])
def test_celery_takes_what_is_written_here_as_a_message_of_its_own(
    name: str, same_redis: Settings, signals: Signals
) -> None:
    wake(signals, name, ["task_a"])
    with create_celery(same_redis) as app, app.connection_for_read() as connection:
        queue = connection.SimpleQueue(QUEUES[name])
        message = queue.get(timeout=5)
        message.ack()
        queue.close()
    assert message.headers["task"] == name
    assert message.payload[0] == ["task_a"]


def test_the_api_sends_a_wake_up_or_says_that_it_could_not(
    same_redis: Settings, signals: Signals, closed_port: int
) -> None:
    sender = WakeQueue(same_redis, signals)
    assert sender.wake("task_a")
    sender.close()
    message = signals.take_message(INGEST_QUEUE)
    assert message is not None
    assert read_wake(message, RUN) == "task_a"
    gone = Signals(f"redis://127.0.0.1:{closed_port}/0")
    sender = WakeQueue(same_redis, gone)
    assert not sender.wake("task_a")
    sender.close()


def _list_words(message: JsonObject, left_out: Collection[str] = ()) -> JsonObject:
    """Return a message without what each has of its own."""
    headers, properties = message["headers"], message["properties"]
    assert isinstance(headers, dict)
    assert isinstance(properties, dict)
    assert headers["id"] == headers["root_id"] == properties["correlation_id"]
    own = {"id", "root_id", "correlation_id", "delivery_tag", "reply_to"}
    return {
        **message,
        "headers": {name: headers[name] for name in headers.keys() - own - set(left_out)},
        "properties": {name: properties[name] for name in properties.keys() - own},
    }
