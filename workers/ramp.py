"""How many connections to a source are worth having. Times and byte counts go in, no I/O is done.

One connection first. More are added while the rate grows with them, and given up where it does
not: a source that is slow on each connection gives more on many, one whose line is full does not,
and one that refuses or breaks them wants fewer.

What the rates speak for and what is allowed are kept apart: there are as many as the smaller says,
so a number that was low for a moment costs that moment alone. Invariants: after a refusal there are
never more than half of what there were; more are tried only behind a fresh answer to how many are
allowed; the lock is never held while that is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

# From one to four, to twelve: a source worth splitting shows it at once.
_GROW_BY = 4
# How long a rate is measured at least, from when the new connections have delivered; twice as long
# as that took, where it took longer; and how long it is waited for.
_WINDOW_S = 0.2
_PATIENCE_S = 3.0
# More connections are kept if they bring this much more, and taken for the way to go if they bring
# half of what they could.
_WORTH = 1.25
_SHARE = 0.5
# How often the most that are allowed are asked for again.
_ASK_EVERY_S = 2.0


class Ramp:
    """Chooses the number of connections. Safe to use from several threads.

    It begins with one, whatever is allowed, and grows once :meth:`ask` was called.

    Args:
        now: seconds, never running backwards.
        rate_bps: what one connection has given.
        find_most: asks how many are allowed now; may take its time.
    """

    def __init__(self, now: float, rate_bps: float, find_most: Callable[[], int]) -> None:
        self._find_most = find_most
        self._lock = threading.Lock()
        self._wanted = 1
        self._most = 1
        self._asked_at: float | None = None
        self._answered = False
        self._best = (1, rate_bps)
        self._settled = False
        # What the measuring is about: so many connections, wanted since then.
        self._count = 1
        self._since = now
        self._awaited = 0
        self._mark: tuple[float, int] | None = None

    @property
    def target(self) -> int:
        """How many there should be."""
        with self._lock:
            return self._find_target()

    def is_due(self, now: float) -> bool:
        """Return whether :meth:`ask` should be called."""
        with self._lock:
            return self._asked_at is None or now - self._asked_at >= _ASK_EVERY_S

    def ask(self, now: float) -> None:
        """Ask how many are allowed; as slow as ``find_most``, so not for a thread with other work.

        What it raises is raised.
        """
        with self._lock:
            self._asked_at = now
        most = max(1, self._find_most())
        with self._lock:
            self._most, self._answered = most, True

    def look(self, now: float, received_bytes: int, delivered: int) -> None:
        """Take in how far things are. Waits for nothing.

        Args:
            received_bytes: by all requests together, ever growing.
            delivered: requests that have given a byte so far, ever growing.
        """
        with self._lock:
            if self._answered:
                self._answered = False
                if not self._settled:
                    self._wanted = self._best[0] * _GROW_BY
            target = self._find_target()
            if target != self._count:
                # Others than those that were measured so far.
                self._awaited = delivered + max(0, target - self._count)
                self._count, self._since, self._mark = target, now, None
            elif not self._settled and target > self._best[0]:
                self._measure(now, received_bytes, delivered)

    def slow_down(self, count: int) -> None:
        """The source refused a connection or broke one: have half as many, and no more again.

        Args:
            count: how many there were when it was asked for, so that what many are told at once
                halves their number once.
        """
        with self._lock:
            self._settle(min(self._find_target(), max(1, count // 2)))

    def _find_target(self) -> int:
        return min(self._wanted, self._most)

    def _measure(self, now: float, received_bytes: int, delivered: int) -> None:
        if self._mark is None:
            if delivered >= self._awaited:
                self._mark = (now, received_bytes)
            elif now - self._since > _PATIENCE_S:
                self._settle(self._best[0])
            return
        began, before = self._mark
        if now - began >= max(_WINDOW_S, 2 * (began - self._since)):
            self._judge((received_bytes - before) / (now - began))

    def _judge(self, rate_bps: float) -> None:
        count, best_bps = self._best
        if rate_bps < best_bps * _WORTH:
            self._settle(count)
            return
        pays = rate_bps >= best_bps * (1 + _SHARE * (self._count / count - 1))
        self._best = (self._count, rate_bps)
        if pays:
            self._wanted = self._count
            self._asked_at = None
        else:
            self._settle(self._count)

    def _settle(self, count: int) -> None:
        self._wanted = count
        self._settled = True
