"""The memory of a process as its machine sees it: sampled from outside, children included."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

_SAMPLE_EVERY_S = 0.01


class PeakRss:
    """Watches a process and all its children for the length of a ``with`` block.

    Attributes:
        before_bytes: the sum of their resident sets when the block began.
        peak_bytes: the largest sum that was seen.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="rss", daemon=True)
        self.before_bytes = 0
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self.before_bytes = self.peak_bytes = self._measure()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def grown_bytes(self) -> int:
        """How far the peak was above the beginning."""
        return self.peak_bytes - self.before_bytes

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, self._measure())

    def _measure(self) -> int:
        total = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total
