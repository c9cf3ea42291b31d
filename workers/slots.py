"""The slots of a worker, and the tap in front of them: no message for a slot that is not free.

Celery fetches ahead: a full worker holds messages that an idle one could run. Its own switch
against that (``worker_disable_prefetch``) counts by a list that is emptied at every reconnect, and
leaves a connection unread that Redis has closed, at the cost of a whole core. So the tap is turned
here, by Celery's public means: a full worker cancels its consumer, and consumes again when a slot
is free. Invariants: what is counted is what really runs, through any reconnect; Celery's consumer
is touched in its loop's thread alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, Protocol, TypeVar

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from celery.worker.consumer import Tasks

from workers.loop import Loop, LoopTurner
from workers.shutdown import Stopping, is_stopping

P = ParamSpec("P")
T = TypeVar("T")


class _MessageConsumer(Protocol):
    """kombu's ``Consumer``, as far as it is used here."""

    def consume(self) -> None:
        """Take messages."""

    def cancel(self) -> None:
        """Take none."""


class _EventLoop(Loop, Protocol):
    def call_soon(self, callback: Callable[[], None]) -> object:
        """Call back at the beginning of the next turn."""


class _Consumer(Protocol):
    """Celery's ``Consumer``, as far as it is used here."""

    @property
    def hub(self) -> _EventLoop:
        """Its loop."""

    @property
    def task_consumer(self) -> _MessageConsumer:
        """What takes its messages."""


class Slots:
    """Counts what runs, and turns the tap.

    Args:
        count: how many messages may be run at once.
    """

    def __init__(self, count: int) -> None:
        self.turner = LoopTurner(self._answer_turn)
        self._count = count
        self._lock = threading.Lock()
        self._running = 0
        self._taken = 0
        self._closed = False
        self._broken = False
        self._consumer: _MessageConsumer | None = None

    @property
    def taken_count(self) -> int:
        """How many messages were taken so far."""
        return self._taken

    @property
    def wants_more(self) -> bool:
        """Whether a message that waits should be taken now."""
        return self._running < self._count and not is_stopping()

    def take(self) -> None:
        """Note that a message was taken; in the loop's thread."""
        with self._lock:
            self._taken += 1
            self._running += 1
        self._adjust()

    def free(self) -> None:
        """Note that a slot is free; from any thread."""
        with self._lock:
            self._running -= 1
        self.turner.turn()

    def reconnect(self) -> None:
        """Have Celery drop its connection and make another; from any thread."""
        self._broken = True
        self.turner.turn()

    def watch(self, consumer: _Consumer) -> None:
        """Turn the tap of a consumer that is about to start."""
        self._consumer = consumer.task_consumer
        self._closed = False
        self.turner.watch_from(consumer.hub)
        # It will begin with the tap open, whatever still runs.
        consumer.hub.call_soon(self._adjust)

    def _answer_turn(self) -> None:
        if self._broken:
            self._broken = False
            # In the loop's thread, this is what a lost connection looks like.
            raise ConnectionResetError("The connection to Redis is given up.")
        self._adjust()

    def _adjust(self) -> None:
        full = self._running >= self._count
        if self._consumer is None or full is self._closed:
            return
        self._closed = full
        if full:
            self._consumer.cancel()
        else:
            self._consumer.consume()


class _CountedExecutor(ThreadPoolExecutor):
    def __init__(self, threads: int, slots: Slots) -> None:
        super().__init__(threads, thread_name_prefix="slot")
        self._slots = slots

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self._slots.take()
        try:
            future = super().submit(fn, *args, **kwargs)
        except RuntimeError:
            # It is shut down.
            self._slots.free()
            raise
        # Behind Celery's own bookkeeping, which is part of what runs.
        future.add_done_callback(lambda _: self._slots.free())
        return future


def make_pool(slots: Slots, stopping: Stopping) -> type[TaskPool]:
    """Return Celery's pool of threads, with its slots counted; when it stops, none is taken."""

    class CountedPool(TaskPool):
        def on_start(self) -> None:
            super().on_start()
            self.executor = _CountedExecutor(self.limit, slots)

        def on_stop(self) -> None:
            # It waits for its threads, which would go on for as long as messages wait.
            stopping.end()
            super().on_stop()

    return CountedPool


def make_step(slots: Slots) -> type[bootsteps.StartStopStep]:
    """Return the step of Celery's consumer that turns the tap, started anew at each reconnect."""

    class Tap(bootsteps.StartStopStep):
        # Behind the steps that give the loop what it watches.
        requires = (Tasks,)

        def start(self, parent: _Consumer) -> None:
            slots.watch(parent)

    return Tap
