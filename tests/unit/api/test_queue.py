"""Whether there is room for a wake-up is asked of Redis no more often than the answer is worth."""

from __future__ import annotations

from api.queue import Room, WakeQueue
from ingest.environ import load_settings
from ingest.errors import RedisUnavailable
from storage.signals import Signals

_NOWHERE = "redis://127.0.0.1:1/0"


class Counted(Signals):
    """Tells lengths of the queue one after another, and counts who asks."""

    def __init__(self, *lengths: int | None) -> None:
        super().__init__(_NOWHERE)
        self._lengths = iter(lengths)
        self.asked = 0

    def count_queued(self, queue: str) -> int:
        del queue
        self.asked += 1
        length = next(self._lengths)
        if length is None:
            raise RedisUnavailable("Redis does not answer.")
        return length


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_queue(signals: Signals, clock: Clock) -> WakeQueue:
    settings = load_settings(
        {
            "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "HEADRACE_REDIS_URL": _NOWHERE,
            "HEADRACE_S3_BUCKET": "media",
            "HEADRACE_S3_ACCESS_KEY_ID": "none",
            "HEADRACE_S3_SECRET_ACCESS_KEY": "none",
            "HEADRACE_WORKER_SLOTS": "2",
            "HEADRACE_DISPATCH_WINDOW": "4",
        }
    )
    return WakeQueue(settings, signals, clock)


def test_a_queue_with_room_is_asked_each_time() -> None:
    signals = Counted(0, 3, 4)
    queue = make_queue(signals, Clock())
    assert [queue.look() for _ in range(3)] == [Room.FREE, Room.FREE, Room.TAKEN]


def test_a_queue_without_room_is_left_alone_for_moments() -> None:
    signals, clock = Counted(4, 0), Clock()
    queue = make_queue(signals, clock)
    assert [queue.look() for _ in range(100)] == [Room.TAKEN] * 100
    assert signals.asked == 1
    clock.now = 1.0
    assert queue.look() is Room.FREE


def test_a_redis_that_does_not_answer_says_nothing_of_room() -> None:
    signals = Counted(None, 0)
    queue = make_queue(signals, Clock())
    assert [queue.look(), queue.look()] == [Room.UNKNOWN, Room.FREE]
