"""What a slot does when it is done: the next message, until there is none."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import deque

import pytest
from structlog.testing import capture_logs

from ingest.errors import DatabaseUnavailable, RedisUnavailable
from storage.signals import End
from storage.wakes import DELIVER, RUN, read_wake
from workers.following import Following
from workers.shutdown import Stopping
from workers.slots import Slots, make_pool


class Messages:
    """A queue, and those who run what stands in it."""

    def __init__(self, *waiting: str) -> None:
        self.waiting = deque(waiting)
        self.ran: list[str] = []
        self.said: list[str] = []
        self.stopping = Stopping()
        self.is_redis_missing = False
        self.is_database_missing = False
        self.breaks = False
        self.is_silent = False

    def take(self, ended: End | None) -> str | None:
        if ended is not None:
            self.announce(ended)
        if self.is_redis_missing:
            raise RedisUnavailable("Redis does not answer.")
        return self.waiting.popleft() if self.waiting else None

    def announce(self, ended: End) -> None:
        if self.is_redis_missing:
            raise RedisUnavailable("Redis does not answer.")
        self.said.append(ended.task_id)

    def run(self, wanted_id: str) -> End | None:
        self.ran.append(wanted_id)
        if self.is_database_missing:
            raise DatabaseUnavailable("PostgreSQL does not answer.")
        if self.breaks:
            raise LookupError(wanted_id)
        return None if self.is_silent else End(wanted_id)

    def follow(self, wanted_id: str) -> list[str]:
        Following(self.take, self.announce, RUN, self.run, self.stopping.is_set).run(wanted_id)
        return self.ran


def write_message(*arguments: object, task: str = RUN) -> str:
    body = json.dumps([arguments, {}, {"callbacks": None}]).encode()
    return json.dumps({"body": b64encode(body).decode(), "headers": {"task": task}})


def test_a_slot_runs_what_it_was_given_and_then_all_that_waits_in_its_order() -> None:
    messages = Messages(write_message("task_b"), write_message("task_c"))
    assert messages.follow("task_a") == ["task_a", "task_b", "task_c"]
    assert messages.said == messages.ran


def test_where_nothing_is_to_be_said_nothing_is() -> None:
    messages = Messages(write_message("task_b"))
    messages.is_silent = True
    assert messages.follow("task_a") == ["task_a", "task_b"]
    messages.stopping.end()
    assert messages.follow("task_c") == ["task_a", "task_b", "task_c"]
    assert messages.said == []


def test_what_is_stopping_says_what_has_ended_and_takes_no_message() -> None:
    messages = Messages(write_message("task_b"))
    messages.stopping.end()
    assert messages.follow("task_a") == ["task_a"]
    assert messages.said == ["task_a"]
    assert len(messages.waiting) == 1
    messages.is_redis_missing = True
    assert messages.follow("task_c") == ["task_a", "task_c"]


def test_a_slot_is_free_again_where_redis_does_not_answer() -> None:
    messages = Messages(write_message("task_b"))
    messages.is_redis_missing = True
    assert messages.follow("task_a") == ["task_a"]


def test_where_a_task_cannot_be_claimed_no_other_message_is_taken() -> None:
    messages = Messages(write_message("task_b"))
    messages.is_database_missing = True
    assert messages.follow("task_a") == ["task_a"]
    assert len(messages.waiting) == 1


def test_what_breaks_is_told_by_its_own_id_and_leaves_the_rest_to_celery() -> None:
    messages = Messages(write_message("task_b"))
    messages.breaks = True
    with capture_logs() as logs, pytest.raises(LookupError, match="task_a"):
        messages.follow("task_a")
    assert [one["task_id"] for one in logs if one["event"] == "wake.broke"] == ["task_a"]
    assert len(messages.waiting) == 1


def test_a_slot_that_is_freed_since_the_process_gives_up_takes_no_message() -> None:
    messages = Messages(write_message("task_b"))

    def hand_back(timeout_s: float) -> bool:
        messages.follow("task_a")
        return timeout_s == 1.5

    assert messages.stopping.before(hand_back)(1.5)
    assert messages.ran == ["task_a"]
    assert len(messages.waiting) == 1


def test_a_pool_that_stops_has_no_message_taken() -> None:
    stopping = Stopping()
    pool = make_pool(Slots(1), stopping)(limit=1)
    pool.start()
    assert not stopping.is_set()
    pool.stop()
    assert stopping.is_set()


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "{}",
        '{"body": "!", "headers": {"task": "ingest.run"}}',
        '{"body": "e30=", "headers": {"task": "ingest.run"}}',
        "[" * 100_000,
        write_message(),
        write_message(1),
        write_message("task_b", "task_c"),
        write_message("del_b", task=DELIVER),
    ],
)
def test_what_is_no_wake_up_is_passed_over(message: str) -> None:
    with pytest.raises(ValueError, match=r"This is no (wake-up|message of Celery's)\."):
        read_wake(message, RUN)
    messages = Messages(message, write_message("task_z"))
    assert messages.follow("task_a") == ["task_a", "task_z"]
    assert messages.said == ["task_a", "task_z"]
