"""Nudges to the dispatcher, of which many at once are one.

Each request that makes a task has something to look for, and a dispatcher that is told of one finds
them all. Invariant: after each :meth:`Nudger.nudge` there is a nudge in Redis, within moments;
never one from before in its place, since the dispatcher may have looked already.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ingest.errors import RedisUnavailable
from ingest.logs import get_logger

# A task that waits for the dispatcher waits for a slot as well; whoever nudges first waits nothing.
_PAUSE_S = 0.02


class Nudger:
    """Nudges from a thread of its own, which starts with the first. For several threads.

    Args:
        send: puts one nudge into Redis.
        pause_s: how long those that come after one are gathered.
    """

    def __init__(self, send: Callable[[], None], pause_s: float = _PAUSE_S) -> None:
        self._send = send
        self._pause_s = pause_s
        self._awake, self._closed = threading.Event(), threading.Event()
        self._is_wanted = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def nudge(self) -> None:
        """Have a nudge sent; what is lost with Redis is made good by the dispatcher's next look."""
        self._is_wanted = True
        if not self._awake.is_set():
            self._awake.set()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """Send what is asked for, and stop."""
        self._closed.set()
        self._awake.set()
        with self._lock:
            if self._thread is not None:
                self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._awake.wait()
            # First, so that who asks from here on is heard by the next round.
            self._awake.clear()
            self._send_wanted()
            self._closed.wait(self._pause_s)
        self._send_wanted()

    def _send_wanted(self) -> None:
        if not self._is_wanted:
            return
        self._is_wanted = False
        try:
            self._send()
        except RedisUnavailable:
            return
        except Exception:  # noqa: BLE001 - a nudge that failed must not be the last one
            get_logger(__name__).exception("nudge.broke")
