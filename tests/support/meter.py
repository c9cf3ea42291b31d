"""What a process and all its children take, seen from outside: CPU time, and memory at its peak."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Self

import psutil

_SAMPLE_EVERY_S = 0.02


def read_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process tree so far, children that have ended included."""
    total_s = 0.0
    for process in _list_tree(psutil.Process(pid)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total_s += times.user + times.system
            total_s += times.children_user + times.children_system
    return total_s


class PeakMemory:
    """Watches the resident sets of a process tree for the length of a ``with`` block.

    Attributes:
        before_bytes: their sum when the block began.
        peak_bytes: the largest sum that was seen.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self.before_bytes = 0
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self.before_bytes = self.peak_bytes = self._measure()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
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
        total_bytes = 0
        for process in _list_tree(self._process):
            with suppress(psutil.NoSuchProcess):
                total_bytes += process.memory_info().rss
        return total_bytes


def _list_tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]
