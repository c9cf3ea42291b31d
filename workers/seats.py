"""Who may have a connection now, of those that read one file side by side.

Invariants: nobody sits down where as many sit as are wanted; whoever waits to sit down again goes
before whoever comes.
"""

from __future__ import annotations

import threading

from workers.ramp import Ramp
from workers.watchdog import Cancellation

_GLANCE_S = 0.02


class Seats:
    """Counts connections. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seated = 0
        self._waiting = 0

    def take(self, most: int) -> bool:
        """Sit down, unless ``most`` sit or somebody waits; return whether there was a seat."""
        with self._lock:
            if self._waiting or self._seated >= most:
                return False
            self._seated += 1
            return True

    def leave(self) -> None:
        """Give a seat up."""
        with self._lock:
            self._seated -= 1

    def return_later(self, pause_s: float, ramp: Ramp, cancellation: Cancellation) -> bool:
        """Give a seat up for a pause, and until fewer sit than the ramp wants.

        Returns:
            Whether there is a seat again; False if all was cancelled.
        """
        with self._lock:
            self._seated -= 1
            self._waiting += 1
        try:
            cancellation.pause(pause_s)
            while not cancellation.aborted:
                with self._lock:
                    if self._seated < ramp.target:
                        self._seated += 1
                        return True
                cancellation.pause(_GLANCE_S)
            return False
        finally:
            with self._lock:
                self._waiting -= 1
