"""How many requests each key may make, counted in Redis for all API processes together.

The library ``limits``, which Flask-Limiter stands on, does the counting (a sliding window). What
Flask-Limiter adds looks at a request before its key is known. Invariants: a request that is refused
was not begun; without Redis nobody is refused, and a Redis that hangs is left alone for a while, so
that it does not hold up every request.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from limits import parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from ingest.logs import get_logger

_CONNECT_TIMEOUT_S = 1.0
_ANSWER_TIMEOUT_S = 1.0
# How long Redis is not asked after it did not answer.
_REST_S = 5.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What a key may still do: ``remaining`` of ``limit`` requests, more of them after ``reset_s``.

    ``is_over`` says that the request just counted was one too many.
    """

    limit: int
    remaining: int
    reset_s: int
    is_over: bool


class RequestLimit:
    """Counts the requests of keys. Safe to use from several threads.

    Args:
        redis_url: where they are counted; connected to when the first is.
        rate: as in the setting, such as ``600/minute``.
        clock: seconds, never running backwards.
    """

    def __init__(
        self, redis_url: str, rate: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = parse(rate)
        self._window = SlidingWindowCounterRateLimiter(
            RedisStorage(
                redis_url,
                key_prefix="headrace:requests",
                wrap_exceptions=True,
                socket_connect_timeout=_CONNECT_TIMEOUT_S,
                socket_timeout=_ANSWER_TIMEOUT_S,
            )
        )
        self._clock = clock
        self._lock = threading.Lock()
        self._rests_until = -math.inf

    def count(self, key_id: str) -> Standing | None:
        """Count one request of a key; return how the key stands now, None if nobody knows."""
        if self._clock() < self._rests_until:
            return None
        try:
            is_free = self._window.hit(self._rate, key_id)
            found = self._window.get_window_stats(self._rate, key_id)
        except StorageError as error:
            self._rest(error)
            return None
        reset_s = max(1, math.ceil(found.reset_time - time.time()))
        remaining = max(0, found.remaining) if is_free else 0
        return Standing(self._rate.amount, remaining, reset_s, is_over=not is_free)

    def _rest(self, error: StorageError) -> None:
        with self._lock:
            if self._clock() < self._rests_until:
                return
            self._rests_until = self._clock() + _REST_S
        reason = type(error.storage_error).__name__
        get_logger(__name__).warning("requests.not_counted", reason=reason)
