"""The pipe that turns an event loop."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable

from workers.loop import LoopTurner


class PollLoop:
    """An event loop of one turn at a time."""

    def __init__(self) -> None:
        self.watched: dict[int, Callable[[], None]] = {}

    def add_reader(self, fds: int, callback: Callable[[], None]) -> None:
        self.watched[fds] = callback

    def turn(self, timeout_s: float) -> bool:
        """Wait for something to happen and answer it; return whether anything did."""
        ready, _, _ = select.select(list(self.watched), [], [], timeout_s)
        for one in ready:
            self.watched[one]()
        return bool(ready)


def test_a_loop_sleeps_until_another_thread_turns_it() -> None:
    loop, turner = PollLoop(), LoopTurner()
    turner.watch_from(loop)
    assert not loop.turn(0)
    thread = threading.Thread(target=turner.turn)
    thread.start()
    assert loop.turn(10)
    thread.join()
    assert not loop.turn(0)


def test_any_number_of_turns_at_once_is_one_and_holds_nobody_up() -> None:
    loop, turner = PollLoop(), LoopTurner()
    turner.watch_from(loop)
    for _ in range(100_000):
        turner.turn()
    while loop.turn(0):
        pass
    turner.turn()
    assert loop.turn(0)
    assert not loop.turn(0)


def test_a_loop_that_forgot_what_it_watched_is_turned_again() -> None:
    turner = LoopTurner()
    for _ in range(2):
        loop = PollLoop()
        turner.watch_from(loop)
        turner.turn()
        assert loop.turn(0)
