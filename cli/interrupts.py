"""Ctrl-C and its relatives, turned into an orderly stop.

Invariant: nothing is thrown into a stack that is starting or stopping, where it could lose track
of a child; there the signal only leaves a note, and a second one takes the grace away.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cli.local import LocalStack
from cli.problems import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """What a signal does now.

    Args:
        stack: told to stop by every signal.
    """

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._throws = False

    @contextmanager
    def throwing(self) -> Iterator[None]:
        """Let the first signal inside the block raise Interrupted, wherever the code is."""
        self._throws = True
        if self._stack.stop_asked:
            raise Interrupted("Stopped.")
        try:
            yield
        finally:
            self._throws = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; the signature is the one `signal.signal` wants."""
        del number, frame
        self._stack.ask_stop()
        if self._throws:
            self._throws = False
            raise Interrupted("Stopped.")


@contextmanager
def catch_interrupts(stack: LocalStack) -> Iterator[Interrupts]:
    """Send SIGINT, SIGTERM and SIGHUP to the stack for the length of the block.

    What is ignored stays so: that is how nohup and a shell's background jobs are told apart.
    """
    interrupts = Interrupts(stack)
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupts.handle) for number in heard}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
