"""A source read front to back that goes on where its connection dropped.

Invariants: what follows is asked for under the strong ETag and length of what is here, so that two
versions are never mixed; a source that sends something else ends the reading with the error that
the dropped connection gave; one that drops without sending anything is not asked for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingest.errors import (
    IngestError,
    SourceChanged,
    SourceTimeout,
    SourceTruncated,
    SourceUnavailable,
)
from ingest.logs import get_logger
from ingest.urls import SourceUrl
from workers.answers import Resume
from workers.fetch import Source
from workers.watchdog import Cancellation

_DROPPED = (SourceTimeout, SourceTruncated, SourceUnavailable)
# Drops in a row that brought nothing, and drops in all.
_MOST_IN_VAIN, _MOST_DROPS = 3, 50
_FIRST_PAUSE_S = 0.2


class Stream:
    """The body of a source, over as many connections as it takes, one at a time.

    Args:
        source: the first of them; closing it is the stream's from now on.
        reopen: asks for the rest of the file.
        cancellation: cuts pauses short; after it nothing is asked for any more.

    Attributes:
        url, size_bytes, etag, ranged, dispositions, received_bytes, ended, reading_s: as of
            :class:`Source`.
    """

    def __init__(
        self, source: Source, reopen: Callable[[Resume], Source], cancellation: Cancellation
    ) -> None:
        self._source = source
        self._reopen = reopen
        self._cancellation = cancellation
        self._read_before_s = 0.0
        self._drops = self._in_vain = 0

    @property
    def url(self) -> SourceUrl:
        """Where the bytes come from in the end."""
        return self._source.url

    @property
    def size_bytes(self) -> int | None:
        """The length of the whole file, or None."""
        return self._source.size_bytes

    @property
    def etag(self) -> str | None:
        """The strong ETag, or None."""
        return self._source.etag

    @property
    def ranged(self) -> bool:
        """Whether the source answers ranges."""
        return self._source.ranged

    @property
    def dispositions(self) -> Sequence[str]:
        """Every Content-Disposition that was sent."""
        return self._source.dispositions

    @property
    def received_bytes(self) -> int:
        """How much of the file is here."""
        return self._source.received_bytes

    @property
    def ended(self) -> bool:
        """Whether the end of the body was seen."""
        return self._source.ended

    @property
    def reading_s(self) -> float:
        """Seconds spent waiting for the source so far."""
        return self._read_before_s + self._source.reading_s

    def fill(self, buffer: bytearray | memoryview, take: Callable[[memoryview], None]) -> int:
        """Read until the buffer is full or the body ends; as :meth:`Source.fill`.

        Raises:
            IngestError: as there; what dropped for good, too.
        """
        begins = self.received_bytes
        view = memoryview(buffer)
        while True:
            before = self.received_bytes
            try:
                self._source.fill(view[before - begins :], take)
            except _DROPPED as error:
                self._in_vain = 0 if self.received_bytes > before else self._in_vain + 1
                self._go_on(error)
            else:
                return self.received_bytes - begins

    def move_to(self, from_byte: int) -> None:
        """Go on at a byte that lies ahead, over a connection that is asked for now.

        Raises:
            SourceChanged: the source sends something else.
            IngestError: as :func:`workers.fetch.open_source`.
        """
        size_bytes, etag = self.size_bytes, self.etag
        if size_bytes is None or etag is None:
            raise ValueError("a source that cannot be gone on in cannot be moved in")
        self._source.close()
        source = self._reopen(Resume(from_byte, etag, size_bytes))
        if source.resumed_from != from_byte:
            source.close()
            raise SourceChanged("The source sent all of its file where the rest was asked for.")
        self._read_before_s = self.reading_s
        self._source = source

    def close(self) -> None:
        """Let the connection go."""
        self._source.close()

    def _go_on(self, error: IngestError) -> None:
        size_bytes, etag, from_byte = self.size_bytes, self.etag, self.received_bytes
        self._drops += 1
        if (
            size_bytes is None
            or etag is None
            or not self.ranged
            or not 0 < from_byte < size_bytes
            or self._in_vain >= _MOST_IN_VAIN
            or self._drops > _MOST_DROPS
            or self._cancellation.aborted
        ):
            raise error
        self._cancellation.pause(self._in_vain * _FIRST_PAUSE_S)
        get_logger(__name__).info("source.dropped", reason=error.code, from_byte=from_byte)
        try:
            self.move_to(from_byte)
        except IngestError as refusal:
            raise error from refusal
