"""A source as parts, in order, each with its checksum and the digests behind it.

One connection reads front to back. Where that leaves the worker waiting for the source, and the
source has ranges and a strong ETag, the rest comes over several (:mod:`workers.ranges`); the
digests are taken in order all the same. Invariants: nothing is given out that the lease was not
looked at for; whoever receives a part gives its buffer back; a source that serves one connection
alone is read to its end: the first is let go only once a second one has shown that it works. Where
others fail later, the rest is asked for over one connection again; a source that refuses that too
ends the attempt with an error that the next attempt may mend, which reads over one connection only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass

import crc32c

from ingest.errors import IngestError, LeaseLost, SourceUnavailable
from ingest.logs import get_logger
from workers.answers import Resume
from workers.buffers import Buffers
from workers.checksums import Checksums
from workers.fetch import Source
from workers.leases import HeldLease
from workers.ramp import Ramp
from workers.ranges import RangedFile, RangeReader
from workers.stream import Stream
from workers.watchdog import Cancellation

# Where so much of the time goes into waiting for the source, more connections may help.
_WAITING_SHARE = 0.6
# What one connection gives at this rate is not worth a second.
_FAST_ENOUGH_BPS = 128 * 1024 * 1024
# What is left must be worth the requests.
_LEAST_PARTS = 3
# Before each try to go on over one connection: a source may not have noticed yet that the others
# are gone.
_PAUSES_S = (0.0, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class FilledPart:
    """The next part of the file.

    Attributes:
        buffer: its bytes, and room behind them.
        size_bytes: how many there are.
        crc32c: of them.
        digests: the state of the file's digests behind them, or None where it cannot be had or
            the part is all of the file.
    """

    buffer: bytearray
    size_bytes: int
    crc32c: int
    digests: bytes | None

    @property
    def content(self) -> memoryview:
        """The bytes."""
        return memoryview(self.buffer)[: self.size_bytes]


@dataclass(frozen=True, slots=True)
class Splitting:
    """How the rest of a file may be read over several connections.

    Attributes:
        open_range: asks for a range under a cancellation.
        executor: runs the requests.
        find_most: asks how many connections the source may have now.
    """

    open_range: Callable[[Resume, Cancellation], Source]
    executor: Executor
    find_most: Callable[[], int]


class PartReader:
    """Reads one source to its end.

    Args:
        stream: where it goes on from here; closing it stays the caller's.
        checksums: of what lies before; takes in what comes.
        cancellation: of the attempt.
        splitting: None where one connection has to do.
        clock: seconds, never running backwards.

    Attributes:
        received_bytes: how much of the file was given out, what lay before included.
    """

    def __init__(
        self,
        stream: Stream,
        checksums: Checksums,
        buffers: Buffers,
        held: HeldLease,
        cancellation: Cancellation,
        splitting: Splitting | None,
        clock: Callable[[], float],
    ) -> None:
        self._stream = stream
        self._checksums = checksums
        self._buffers = buffers
        self._held = held
        self._cancellation = cancellation
        self._splitting = splitting
        self._clock = clock
        self._ended = False
        self.received_bytes = stream.received_bytes

    def read(self) -> Generator[FilledPart]:
        """Give out parts to the end of the file; all but the last are full.

        Raises:
            IngestError: the source failed.
            LeaseLost: the attempt may not go on.
        """
        splitting = self._splitting
        while not (self._ended or self._stream.ended):
            began, waited_s = self._clock(), self._stream.reading_s
            part = self._fill(self._buffers.take())
            if part is None:
                return
            elapsed_s = max(self._clock() - began, 1e-6)
            rate_bps = part.size_bytes / elapsed_s
            waits = (self._stream.reading_s - waited_s) / elapsed_s >= _WAITING_SHARE
            yield part
            file = self._find_ranged_file()
            if splitting and file and waits and rate_bps < _FAST_ENOUGH_BPS:
                # Others may have the host's share now and leave some of it later.
                if splitting.find_most() < 2:
                    continue
                yield from self._split(splitting, file, rate_bps)
                splitting = None

    def _fill(self, buffer: bytearray) -> FilledPart | None:
        checksum = 0

        def take(piece: memoryview) -> None:
            nonlocal checksum
            self._checksums.update(piece)
            checksum = crc32c.crc32c(piece, checksum)
            # A slow source takes long over one part: others want to see it move, and a lost lease
            # must end it now.
            self._report(self._stream.received_bytes)

        try:
            self._held.check()
            filled = self._stream.fill(buffer, take)
        except BaseException:
            self._buffers.give(buffer)
            raise
        if not filled:
            self._buffers.give(buffer)
            return None
        self.received_bytes += filled
        # Of a file that is whole in its first part nothing is gone on with.
        is_whole = self._stream.ended and self.received_bytes == filled
        digests = None if is_whole else self._checksums.export()
        return FilledPart(buffer, filled, checksum, digests)

    def _find_ranged_file(self) -> RangedFile | None:
        stream, part_bytes = self._stream, self._buffers.part_bytes
        if stream.size_bytes is None or stream.etag is None or not stream.ranged:
            return None
        if stream.size_bytes - stream.received_bytes < _LEAST_PARTS * part_bytes:
            return None
        return RangedFile(stream.etag, stream.size_bytes, part_bytes)

    def _split(
        self, splitting: Splitting, file: RangedFile, rate_bps: float
    ) -> Generator[FilledPart]:
        """Give out the rest of the file, or as much of it as comes over several connections."""
        cancellation = Cancellation()
        self._cancellation.cover(cancellation)
        first, before = self.received_bytes // file.part_bytes + 1, self.received_bytes
        try:
            opened = splitting.open_range(file.ask_for(first, 0), cancellation)
        except IngestError as error:
            get_logger(__name__).info("source.not_split", reason=error.code)
            return
        with ExitStack() as stack:
            stack.callback(opened.close)
            if opened.resumed_from != before:
                return
            ramp = Ramp(self._clock(), rate_bps, splitting.find_most)
            # From here on it is the reader's.
            stack.pop_all()
        reader = RangeReader(
            file,
            lambda asked: splitting.open_range(asked, cancellation),
            self._buffers,
            splitting.executor,
            ramp,
            opened=opened,
            clock=self._clock,
            cancellation=cancellation,
            check=lambda received_bytes: self._report(before + received_bytes),
        )
        # One that is read on would have to be read to its end.
        self._stream.close()
        try:
            for part in reader.read(first):
                try:
                    self._held.check()
                except LeaseLost:
                    self._buffers.give(part.buffer)
                    raise
                self._checksums.update(memoryview(part.buffer)[: part.size_bytes])
                digests = self._checksums.export()
                self.received_bytes += part.size_bytes
                yield FilledPart(part.buffer, part.size_bytes, part.crc32c, digests)
        except LeaseLost:
            raise
        except IngestError as error:
            get_logger(__name__).info("source.split_ended", reason=error.code)
        else:
            get_logger(__name__).info("source.split", connections=ramp.target)
        self._report(self.received_bytes)
        if self.received_bytes < file.size_bytes:
            self._go_back()
        else:
            self._ended = True

    def _go_back(self) -> None:
        """Go on over one connection after several have failed.

        Raises:
            IngestError: a retryable one always, since the source did serve this file: what it
                refuses now it may refuse for their sake.
        """
        for pause_s in _PAUSES_S:
            self._cancellation.pause(pause_s)
            self._held.check()
            try:
                self._stream.move_to(self.received_bytes)
            except IngestError as error:
                refusal = error
            else:
                return
        if refusal.retryable:
            raise refusal
        raise SourceUnavailable(
            f"The source refused to go on after several connections: {refusal.message}"
        ) from refusal

    def _report(self, received_bytes: int) -> None:
        self._held.report(received_bytes, self._stream.size_bytes)
        self._held.check()
