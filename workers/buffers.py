"""Memory for parts: bounded for the worker as a whole, and shared by its ingests.

A worker has ``slots x (parts_in_flight + 1)`` buffers of one part each. Two belong to each slot, so
that every ingest can read one part while the one before is sent; the others go to whoever asks
first. So a lone ingest has many parts on the way, and a full worker no more memory for it.
Invariants: the number is never exceeded, those included that lie idle, so that memory is bounded by
it times the longest part; an ingest that holds no buffer gets one without waiting for another
ingest; buffers of the usual size are used again, since fresh memory costs page faults.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

# One is read into while the other is sent.
OWN_BUFFERS = 2


class BufferPool:
    """The buffers of one worker. Safe to use from several threads.

    Args:
        slots: ingests at once.
        parts_in_flight: as in the setting; buffers for each slot, less one.
        part_bytes: the usual size of a part. Buffers of other sizes are not kept.
    """

    def __init__(self, slots: int, parts_in_flight: int, part_bytes: int) -> None:
        self.count = slots * (parts_in_flight + 1)
        self._part_bytes = part_bytes
        self._lock = threading.Lock()
        self._spare = self.count - slots * OWN_BUFFERS
        self._lent = 0
        self._idle: list[bytearray] = []

    def open(self, part_bytes: int) -> Buffers:
        """Return the buffers of one ingest, of ``part_bytes`` each; a context manager."""
        return Buffers(self, part_bytes)

    def borrow(self) -> bool:
        """Take a buffer's place from those that belong to nobody; False if there is none."""
        with self._lock:
            if not self._spare:
                return False
            self._spare -= 1
            return True

    def allocate(self, size_bytes: int) -> bytearray:
        """Return memory: what lies idle, or fresh. Its content is anything."""
        with self._lock:
            self._lent += 1
            if size_bytes == self._part_bytes and self._idle:
                return self._idle.pop()
            # Before there is more: what lies idle makes room for it.
            del self._idle[max(0, self.count - self._lent) :]
        return bytearray(size_bytes)

    def take_back(self, buffers: list[bytearray], *, lent: int, borrowed: int) -> None:
        """Take an ingest's buffers back, and keep for the next what fits it.

        Args:
            lent: how many it was given in all.
            borrowed: how many of their places were nobody's.
        """
        with self._lock:
            self._spare += borrowed
            self._lent -= lent
            self._idle += [one for one in buffers if len(one) == self._part_bytes]


class Buffers:
    """The buffers of one ingest; a context manager that gives all of them back.

    ``take`` is called by the ingest's own thread, ``give`` by any.
    """

    def __init__(self, pool: BufferPool, part_bytes: int) -> None:
        self.part_bytes = part_bytes
        self._pool = pool
        self._given = threading.Condition()
        self._free: list[bytearray] = []
        self._out = 0
        self._borrowed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._given:
            lent = len(self._free) + self._out
            self._pool.take_back(self._free, lent=lent, borrowed=self._borrowed)
            self._free, self._out, self._borrowed = [], 0, 0

    def take(self) -> bytearray:
        """Return a buffer; wait for one of this ingest's own where there is no other to be had."""
        with self._given:
            found = self._find()
            while found is None:
                self._given.wait()
                found = self._find()
            return found

    def take_now(self) -> bytearray | None:
        """Return a buffer, or None where one would have to be waited for."""
        with self._given:
            return self._find()

    def give(self, buffer: bytearray) -> None:
        """Give a buffer back that was taken; from any thread."""
        with self._given:
            self._out -= 1
            self._free.append(buffer)
            self._given.notify()

    def _find(self) -> bytearray | None:
        if not self._free:
            if self._out >= OWN_BUFFERS + self._borrowed:
                if not self._pool.borrow():
                    return None
                self._borrowed += 1
            self._out += 1
            return self._pool.allocate(self.part_bytes)
        self._out += 1
        return self._free.pop()
