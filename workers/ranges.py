"""The rest of a file over several connections, given out in order.

Each part is a request of its own, under the strong ETag of the file whose beginning is here
already, so that no two versions are ever mixed. Invariants: a part is given out only whole; no
connection is open and no buffer held when :meth:`RangeReader.read` has ended, however it ended; no
connection is opened beyond what :class:`workers.ramp.Ramp` allows; how many that are is asked
beside the reading, so that a database that hangs holds up no byte, and no end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

import crc32c

from ingest.errors import (
    IngestError,
    SourceChanged,
    SourceForbidden,
    SourceTimeout,
    SourceTooSlow,
    SourceTruncated,
    SourceUnavailable,
)
from workers.answers import Resume
from workers.buffers import Buffers
from workers.fetch import Source
from workers.ramp import Ramp
from workers.seats import Seats
from workers.watchdog import Cancellation

# What a try more may mend, at fewer connections: there are sources that forbid one too many.
_PASSING = (SourceForbidden, SourceTimeout, SourceTooSlow, SourceTruncated, SourceUnavailable)
_TRIES = 4
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_GLANCE_S = 0.02


@dataclass(frozen=True, slots=True)
class FetchedPart:
    """A part that is here: how much of the buffer it fills, and its CRC32C."""

    buffer: bytearray
    size_bytes: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class RangedFile:
    """The file that is read: ``etag`` is strong."""

    etag: str
    size_bytes: int
    part_bytes: int

    @property
    def part_count(self) -> int:
        """How many parts it has."""
        return -(-self.size_bytes // self.part_bytes)

    def ask_for(self, number: int, done_bytes: int) -> Resume:
        """Return the request for what is missing of a part, counted from 1."""
        first = (number - 1) * self.part_bytes
        until = min(first + self.part_bytes, self.size_bytes)
        return Resume(first + done_bytes, self.etag, self.size_bytes, until)


class RangeReader:
    """Reads parts of one file side by side.

    Args:
        open_range: asks for a range; closing what it returns is the reader's.
        buffers: the ingest's.
        executor: runs the requests, and what the ramp asks.
        ramp: says how many at once.
        clock: seconds, never running backwards.
        opened: the range of the first part that is read, asked for already.
        cancellation: ends the requests that ``open_range`` makes; used when the reading ends.
        check: called now and then with the bytes received so far; raises if it is to end.
    """

    def __init__(
        self,
        file: RangedFile,
        open_range: Callable[[Resume], Source],
        buffers: Buffers,
        executor: Executor,
        ramp: Ramp,
        *,
        opened: Source,
        clock: Callable[[], float],
        cancellation: Cancellation,
        check: Callable[[int], None],
    ) -> None:
        self._file = file
        self._open_range = open_range
        self._buffers = buffers
        self._executor = executor
        self._ramp = ramp
        self._opened = {opened.resumed_from: opened}
        self._clock = clock
        self._cancellation = cancellation
        self._check = check
        self._lock = threading.Lock()
        self._received_bytes = 0
        self._delivered = 0
        self._asking: Future[None] | None = None
        self._seats = Seats()

    def read(self, first: int) -> Iterator[FetchedPart]:
        """Give out the parts from number ``first`` on; the receiver gives their buffers back.

        Raises:
            IngestError: a part cannot be had.
        """
        jobs: dict[int, tuple[Future[FetchedPart], bytearray]] = {}
        upcoming = first
        try:
            for number in range(first, self._file.part_count + 1):
                upcoming = self._start_jobs(jobs, upcoming)
                while not jobs[number][0].done():
                    self._wait(jobs)
                    upcoming = self._start_jobs(jobs, upcoming)
                # Until the result is there, the buffer is the job's.
                part = jobs[number][0].result()
                del jobs[number]
                yield part
        finally:
            # A source that is silent must not be waited for.
            if jobs:
                self._cancellation.abort()
            if self._asking is not None:
                self._asking.cancel()
            wait([job for job, _ in jobs.values() if not job.cancel()])
            for _, buffer in jobs.values():
                self._buffers.give(buffer)
            for source in self._opened.values():
                source.close()

    def _start_jobs(
        self, jobs: dict[int, tuple[Future[FetchedPart], bytearray]], upcoming: int
    ) -> int:
        """Start what may run beside what runs; return the number of the part that comes next."""
        while upcoming <= self._file.part_count:
            count = self._ramp.target
            if not self._seats.take(count):
                break
            buffer = self._buffers.take_now() if jobs else self._buffers.take()
            if buffer is None:
                self._seats.leave()
                break
            job = self._executor.submit(self._fetch, upcoming, buffer, count)
            jobs[upcoming] = (job, buffer)
            upcoming += 1
        return upcoming

    def _wait(self, jobs: dict[int, tuple[Future[FetchedPart], bytearray]]) -> None:
        self._ask()
        # `Any`, since an asking is waited for along with the parts.
        pending: list[Future[Any]] = [job for job, _ in jobs.values() if not job.done()]
        if self._asking is not None:
            pending.append(self._asking)
        wait(pending, _GLANCE_S, FIRST_COMPLETED)
        with self._lock:
            received_bytes, delivered = self._received_bytes, self._delivered
        self._ramp.look(self._clock(), received_bytes, delivered)
        self._check(received_bytes)

    def _ask(self) -> None:
        """Have the ramp ask, where it is time to and no answer is waited for."""
        if self._asking is not None and self._asking.done():
            # What went wrong there ends the reading.
            self._asking.result()
            self._asking = None
        now = self._clock()
        if self._asking is None and self._ramp.is_due(now):
            self._asking = self._executor.submit(self._ramp.ask, now)

    def _fetch(self, number: int, buffer: bytearray, count: int) -> FetchedPart:
        """Fetch a part from a seat that was taken when ``count`` connections were wanted."""
        tries, done_bytes, checksum = 0, 0, 0
        view = memoryview(buffer)

        def take(piece: memoryview) -> None:
            nonlocal done_bytes, checksum
            checksum = crc32c.crc32c(piece, checksum)
            self._count(len(piece), is_first=not done_bytes)
            done_bytes += len(piece)

        seated = True
        try:
            while True:
                asked = self._file.ask_for(number, done_bytes)
                try:
                    self._read_range(asked, view[done_bytes : done_bytes + _size(asked)], take)
                except _PASSING as error:
                    self._ramp.slow_down(count)
                    # One too many says nothing against the others.
                    tries += self._ramp.target >= count
                    if tries >= _TRIES or self._cancellation.aborted or _is_long(error):
                        raise
                    pause_s = error.retry_after_s or (tries + 1) * _PAUSE_S
                    seated = self._seats.return_later(pause_s, self._ramp, self._cancellation)
                    if not seated:
                        raise
                    count = self._ramp.target
                else:
                    return FetchedPart(buffer, done_bytes, checksum)
        finally:
            if seated:
                self._seats.leave()

    def _read_range(
        self, asked: Resume, view: memoryview, take: Callable[[memoryview], None]
    ) -> None:
        source = self._opened.pop(asked.from_byte, None) or self._open_range(asked)
        try:
            if source.resumed_from != asked.from_byte:
                raise SourceChanged("The source sent all of its file where a part was asked for.")
            source.fill(view, take)
        finally:
            source.close()

    def _count(self, piece_bytes: int, *, is_first: bool) -> None:
        with self._lock:
            self._received_bytes += piece_bytes
            self._delivered += is_first


def _size(asked: Resume) -> int:
    return asked.end_byte - asked.from_byte


def _is_long(error: IngestError) -> bool:
    """Return whether a source asks for more patience than an attempt has."""
    return error.retry_after_s is not None and error.retry_after_s > _LONGEST_PAUSE_S
