"""When a failed attempt is tried again: the one place that decides it.

Pure: what was tried, for how long and at whose fault goes in, one :class:`Verdict` comes out.
Invariants:

- Only what time may mend is tried again, and never more than ``max_attempts`` charged times.
- An object store that is missing costs no task its attempts, for as long as the policy is patient.
- No two tasks that failed in the same moment come back in the same moment: every wait is drawn.
  Full jitter for failures of a source (the least work in all, see the AWS Architecture Blog,
  "Exponential Backoff And Jitter"); equal jitter in an outage, where each look costs a download.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ingest.errors import (
    AttemptsExhausted,
    HeadraceError,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    StorageUnavailable,
    UploadLost,
    WorkerStopped,
)

# How long a wait that somebody else names is respected.
LONGEST_RETRY_AFTER_S = 3600.0
_SECONDS = re.compile(r"[0-9]{1,19}")
_LONGEST_OUTAGE_WAIT_S = 60.0
# Enough doublings to reach any cap, few enough that no float overflows.
_MOST_DOUBLINGS = 64

_OUTAGES = (StorageUnavailable, UploadLost)
# Somebody can mend these, by a fresh URL or by asking again; the finished parts are still good.
_MENDABLE = (AttemptsExhausted, SourceForbidden, SourceNotFound)
# These may pass, but the finished parts are gone or belong to another file.
_SPOILING = (SourceChanged, UploadLost)


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds that RFC 9110, 10.2.3 allows to be told as a number or as a date.

    None where it is neither.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max((date - now).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The settings ``retry_base_s``, ``retry_cap_s`` and ``storage_patience_s``."""

    base_s: float
    cap_s: float
    storage_patience_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a failed attempt.

    Attributes:
        retry_after_s: seconds until the next attempt, or None: the task has failed.
        charged: whether the attempt counts against ``max_attempts``.
        keeps_checkpoint: whether what was uploaded so far may serve another attempt, be it one
            that somebody asks for later. False says that those bytes are no good.
    """

    retry_after_s: float | None
    charged: bool
    keeps_checkpoint: bool


def plan_retry(
    error: HeadraceError,
    *,
    tries: int,
    max_attempts: int,
    outage_s: float,
    policy: RetryPolicy,
    # Waits are spread, not kept secret.
    draw: Callable[[], float] = random.random,
) -> Verdict:
    """Decide what follows from the error that ended an attempt.

    Args:
        tries: the attempts charged so far, the one that failed included.
        outage_s: since when the object store has been missing at each attempt, in seconds before
            now; 0 at the first.
        draw: gives a number from 0 up to, not including, 1.
    """
    keeps_checkpoint = isinstance(error, _MENDABLE) or (
        error.retryable and not isinstance(error, _SPOILING)
    )
    if isinstance(error, WorkerStopped):
        return Verdict(0.0, charged=False, keeps_checkpoint=keeps_checkpoint)
    drawn = draw()
    asked_s = _spread_asked(error, policy, drawn)
    if isinstance(error, _OUTAGES) and outage_s < policy.storage_patience_s:
        wait_s = max(asked_s, _choose_outage_wait(outage_s, policy, drawn))
        return Verdict(wait_s, charged=False, keeps_checkpoint=keeps_checkpoint)
    if not error.retryable or tries >= max_attempts:
        return Verdict(None, charged=True, keeps_checkpoint=keeps_checkpoint)
    wait_s = max(asked_s, drawn * _find_ceiling(tries, policy))
    return Verdict(wait_s, charged=True, keeps_checkpoint=keeps_checkpoint)


def _find_ceiling(tries: int, policy: RetryPolicy) -> float:
    doublings = min(max(tries - 1, 0), _MOST_DOUBLINGS)
    return min(policy.cap_s, policy.base_s * 2.0**doublings)


def _choose_outage_wait(outage_s: float, policy: RetryPolicy, drawn: float) -> float:
    # As long again as it has lasted: that doubles, and needs no count of attempts that cost none.
    longest_s = min(policy.cap_s, _LONGEST_OUTAGE_WAIT_S)
    ceiling_s = min(longest_s, max(policy.base_s, outage_s))
    return ceiling_s * (1 + drawn) / 2


def _spread_asked(error: HeadraceError, policy: RetryPolicy, drawn: float) -> float:
    # A thousand tasks that a source told "60" must not all be back in the sixtieth second.
    if error.retry_after_s is None:
        return 0.0
    asked_s = min(max(error.retry_after_s, 0.0), LONGEST_RETRY_AFTER_S)
    return asked_s + drawn * max(policy.base_s, asked_s / 4)
