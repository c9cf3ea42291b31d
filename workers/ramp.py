"""How many connections to a source are worth having. Pure: times and byte counts go in.

One connection first. More are added while the rate grows with them, and given up where it does
not: a source that is slow on each connection gives more on many, one whose line is full does not,
and one that refuses or breaks them wants fewer.
"""

from __future__ import annotations

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
    """Chooses the number of connections.

    Args:
        now: seconds, never running backwards.
        rate_bps: what one connection has given.
        find_most: asks how many are allowed now.

    Attributes:
        target: how many there should be.
    """

    def __init__(self, now: float, rate_bps: float, find_most: Callable[[], int]) -> None:
        self.target = 1
        self._find_most = find_most
        self._most = 1
        self._asked_at = now
        self._best = (1, rate_bps)
        self._settled = False
        self._since = now
        self._awaited = 0
        self._mark: tuple[float, int] | None = None
        self._grow(now, 0)

    def look(self, now: float, received_bytes: int, delivered: int) -> None:
        """Take in how far things are.

        Args:
            received_bytes: by all requests together, ever growing.
            delivered: requests that have given a byte so far, ever growing.
        """
        if now - self._asked_at >= _ASK_EVERY_S:
            self._ask(now)
        if self._settled:
            return
        if self._mark is None:
            if delivered >= self._awaited:
                self._mark = (now, received_bytes)
            elif now - self._since > _PATIENCE_S:
                self._settle()
            return
        began, before = self._mark
        if now - began >= max(_WINDOW_S, 2 * (began - self._since)):
            self._judge(now, (received_bytes - before) / (now - began), delivered)

    def slow_down(self) -> None:
        """The source refused a connection or broke one: have half as many, and no more again."""
        self.target = max(1, self.target // 2)
        self._settled = True

    def _judge(self, now: float, rate_bps: float, delivered: int) -> None:
        count, best_bps = self._best
        if rate_bps < best_bps * _WORTH:
            self._settle()
            return
        pays = rate_bps >= best_bps * (1 + _SHARE * (self.target / count - 1))
        self._best = (self.target, rate_bps)
        if pays:
            self._grow(now, delivered)
        else:
            self._settled = True

    def _grow(self, now: float, delivered: int) -> None:
        self._ask(now)
        grown = max(1, min(self.target * _GROW_BY, self._most))
        self._settled = grown <= self.target
        self._awaited = delivered + grown - self.target
        self.target = grown
        self._since = now
        self._mark = None

    def _settle(self) -> None:
        self.target = min(self._best[0], self._most)
        self._settled = True

    def _ask(self, now: float) -> None:
        self._asked_at = now
        self._most = max(1, self._find_most())
        self.target = min(self.target, self._most)
