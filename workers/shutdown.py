"""How a process of Celery's stops: what runs may finish for a while, then it is handed back.

In place of Celery's own signal handlers, which do the same, without a limit, and print. Invariant:
the process is gone within its grace and :data:`HAND_BACK_S`, whatever its threads wait for.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from celery.worker import state

from ingest.logs import get_logger

# How long threads whose tasks were handed back may take to let go of what they hold.
HAND_BACK_S = 1.5


def is_stopping() -> bool:
    """Return whether this process was told to stop."""
    return state.should_stop is not None


class Stopping:
    """Whether a process takes no more messages: it was told to stop, or ends for another reason."""

    def __init__(self) -> None:
        self._ends = threading.Event()

    def is_set(self) -> bool:
        """Return whether none is to be taken."""
        return self._ends.is_set() or is_stopping()

    def end(self) -> None:
        """Have none taken from here on."""
        self._ends.set()

    def before(self, hand_back: Callable[[float], bool]) -> Callable[[float], bool]:
        """Return what has no message taken any more, and then hands back what runs."""

        def end_first(timeout_s: float) -> bool:
            self.end()
            return hand_back(timeout_s)

        return end_first


def stop_in_order(
    grace_s: float, turn_loop: Callable[[], None], hand_back: Callable[[float], bool]
) -> None:
    """Let SIGTERM and SIGINT finish what runs, for ``grace_s`` at most.

    Args:
        turn_loop: makes Celery's loop look at once whether it should stop.
        hand_back: called when the grace is over; gives back what still runs and waits so many
            seconds, at most, for its threads; returns whether they all let go.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        state.should_stop = 0  # type: ignore[assignment]  # the stubs know its first value alone
        turn_loop()
        # No logging in a signal handler: it may have interrupted a line.
        threading.Thread(target=_wait_grace, args=(number, grace_s, hand_back), daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _wait_grace(number: int, grace_s: float, hand_back: Callable[[float], bool]) -> None:
    get_logger(__name__).info(
        "worker.stopping", signal=signal.Signals(number).name, grace_s=grace_s
    )
    time.sleep(grace_s)
    give_up(hand_back)


def give_up(hand_back: Callable[[float], bool]) -> None:
    """Give back what runs, and end the process with code 1; for a supervisor to start another.

    Args:
        hand_back: as for :func:`stop_in_order`.
    """
    let_go = False
    try:
        let_go = hand_back(HAND_BACK_S)
    finally:
        get_logger(__name__).warning("worker.gave_up", let_go=let_go)
        os._exit(1)
