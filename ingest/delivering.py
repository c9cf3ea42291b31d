"""When a delivery is tried again: the one place that decides it.

Pure: what was tried and what came of it goes in, one :class:`Plan` comes out. Invariants: only a
2xx ends a delivery well; nobody is asked more often than the delays say; no two deliveries that
failed in the same moment come back in the same moment; a receiver that says when to come again is
believed, up to a day; one that takes nothing is asked ever less.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

_MINUTE_S, _HOUR_S = 60.0, 3600.0
# Before each attempt, the first included (Standard Webhooks 1.0, "Deliverability and reliability").
DELAYS_S = (
    0.0, 5.0, 5 * _MINUTE_S, 30 * _MINUTE_S, 2 * _HOUR_S, 5 * _HOUR_S, 10 * _HOUR_S,
    14 * _HOUR_S, 20 * _HOUR_S, 24 * _HOUR_S,
)  # fmt: skip
_MOST_DELAYS, _LONGEST_DELAY_S = 20, 7 * 24 * _HOUR_S
_DELAY = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*", re.ASCII)
# Of a delay, how much may be added.
JITTER = 0.2
_LONGEST_RETRY_AFTER_S = 24 * _HOUR_S
# After so many failures in a row a receiver is asked by one delivery at a time. One that takes half
# of what it is sent hardly ever has so many.
TROUBLED_AFTER = 10
# For so long nothing has arrived, and an endpoint counts as gone.
DISABLED_AFTER = timedelta(days=5)
_GONE = 410
_BUSY = frozenset({429, 502, 504})
# How long a busy receiver is left alone by all deliveries, where it does not say itself.
_PAUSE_S = 60.0


def parse_delays(text: str) -> tuple[float, ...]:
    """Return delays in seconds from numbers with commas between.

    Raises:
        ValueError: it is none, there are too many, or one is too long.
    """
    parts = text.split(",")
    if len(parts) > _MOST_DELAYS or not all(map(_DELAY.fullmatch, parts)):
        raise ValueError(f"must be 1 to {_MOST_DELAYS} numbers of seconds with commas between")
    delays_s = tuple(map(float, parts))
    if max(delays_s) > _LONGEST_DELAY_S:
        raise ValueError(f"has a wait of more than {_LONGEST_DELAY_S:.0f} s, which is a week")
    return delays_s


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from an attempt.

    Attributes:
        arrived: whether the receiver has it.
        retry_after_s: seconds until the next attempt; None: there is none.
        disables: whether the receiver asked never to be asked again.
        pause_s: how long its endpoint is left alone by every delivery.
    """

    arrived: bool
    retry_after_s: float | None = None
    disables: bool = False
    pause_s: float = 0.0


def plan_next(
    status: int | None,
    attempts: int,
    delays_s: Sequence[float] = DELAYS_S,
    *,
    retry_after_s: float | None = None,
    # Waits are spread, not kept secret.
    draw: Callable[[], float] = random.random,
) -> Plan:
    """Decide what follows from an attempt.

    Args:
        status: of the answer; None where there was none.
        attempts: how many there were, this one included.
        delays_s: before each attempt, the first included; there are no more than these.
        retry_after_s: what the answer said of when to come again.
        draw: gives a number from 0 up to, not including, 1.
    """
    if status is not None and 200 <= status < 300:
        return Plan(arrived=True)
    if status == _GONE:
        return Plan(arrived=False, disables=True)
    asked_s = 0.0 if retry_after_s is None else min(retry_after_s, _LONGEST_RETRY_AFTER_S)
    pause_s = max(asked_s, _PAUSE_S) if status in _BUSY else 0.0
    if attempts >= len(delays_s):
        return Plan(arrived=False, pause_s=pause_s)
    delay_s = delays_s[attempts] * (1 + JITTER * draw())
    return Plan(arrived=False, retry_after_s=max(delay_s, asked_s), pause_s=pause_s)


def plan_pause(failures: int) -> float:
    """Return for how many seconds a receiver is left alone that failed so often in a row.

    Not at all at first; from :data:`TROUBLED_AFTER` on twice as long each time, up to a minute.
    """
    if failures < TROUBLED_AFTER:
        return 0.0
    return min(_PAUSE_S, 2.0 ** min(failures - TROUBLED_AFTER, 16))
