"""What a process and all its children take, seen from outside: CPU time, memory, descriptors."""

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


def read_memory_bytes(pid: int, *, children: bool = True) -> int:
    """Return the resident set of a process, with those of its children's or without."""
    total_bytes = 0
    first = psutil.Process(pid)
    for process in _list_tree(first) if children else [first]:
        with suppress(psutil.NoSuchProcess):
            total_bytes += process.memory_info().rss
    return total_bytes


def count_descriptors(pid: int) -> int:
    """Return how many descriptors a process has open, its children's not counted."""
    return psutil.Process(pid).num_fds()


class Peaks:
    """Watches a process tree for the length of a ``with`` block.

    Args:
        children: whether their memory counts, too.

    Attributes:
        before_bytes: the sum of the resident sets when the block began.
        peak_bytes: the largest sum that was seen.
        peak_descriptors: the most descriptors that the process itself was seen to have open.
    """

    def __init__(self, pid: int, *, children: bool = True) -> None:
        self._pid = pid
        self._children = children
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peaks", daemon=True)
        self.before_bytes = 0
        self.peak_bytes = 0
        self.peak_descriptors = 0

    def __enter__(self) -> Self:
        self._look()
        self.before_bytes = self.peak_bytes
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
            self._look()

    def _look(self) -> None:
        self.peak_bytes = max(
            self.peak_bytes, read_memory_bytes(self._pid, children=self._children)
        )
        self.peak_descriptors = max(self.peak_descriptors, count_descriptors(self._pid))


def _list_tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]
