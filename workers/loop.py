"""Turns Celery's event loop when a thread has given it a reason to.

Once as many messages wait for a thread as may, the loop asks Redis for no more, and looks whether
it may ask again at its next turn alone. A thread that takes a message up makes room but does not
turn the loop, which sleeps for up to ten seconds where nothing else happens (kombu's
``Hub.fire_timers``): eight small files every ten seconds on four slots. So each thread turns it,
through a pipe that the loop watches.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol


class Loop(Protocol):
    """kombu's ``Hub``, as far as it is used here."""

    def add_reader(self, fds: int, callback: Callable[[], None]) -> object:
        """Call back in the loop's thread when there is something to read."""


class LoopTurner:
    """A pipe into an event loop. Lives as long as its process.

    Args:
        at_turn: called at each turn, in the loop's thread.
    """

    def __init__(self, at_turn: Callable[[], None] = lambda: None) -> None:
        self._at_turn = at_turn
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)

    def watch_from(self, loop: Loop) -> None:
        """Let a loop be turned; to be called again whenever it has forgotten what it watched."""
        loop.add_reader(self._reader, self._empty)

    def turn(self) -> None:
        """Turn the loop soon; from any thread."""
        # A pipe that is full has turns enough in it.
        with suppress(BlockingIOError):
            os.write(self._writer, b"\0")

    def _empty(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._reader, 65536)
        self._at_turn()
