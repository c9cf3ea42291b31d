"""What arrives on a socket: lines out of a small buffer, all else straight into memory."""

from __future__ import annotations

import re
import ssl
from typing import Protocol

from storage.http1.errors import EndedEarly, Malformed, NoAnswer

# Most heads fit. Of a body with a length no more than this is copied.
_BUFFER_BYTES = 8 * 1024
# RFC 9110 sets no limit; as much as Python's own client takes for one line.
_MAX_HEAD_BYTES = 64 * 1024
_MAX_LINE_BYTES = 64 * 1024
_HEAD_START = b"HTTP/"
_HEAD_END = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\n")


class Receiver(Protocol):
    """A connected socket, as far as reading goes."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Wait for bytes and put them there; return how many, 0 where there will be no more."""


class Feed:
    """Reads one connection from its first byte to its last."""

    def __init__(self, connection: Receiver) -> None:
        self._connection = connection
        self._buffer = bytearray(_BUFFER_BYTES)
        self._start = 0
        self._end = 0

    @property
    def is_empty(self) -> bool:
        """Whether everything that has been received has been read."""
        return self._start == self._end

    def read_head(self) -> bytes:
        """Read to the end of an empty line that follows another line.

        Raises:
            NoAnswer: the connection ended before the first byte.
            EndedEarly: it ended later.
            Malformed: no end came in 64 KiB, or what came was no head from its first byte on.
            OSError
        """
        try:
            return self._read_to(_HEAD_END, 2, _MAX_HEAD_BYTES)
        except NoAnswer:
            raise
        except EndedEarly:
            begun = bytes(self._buffer[self._start : self._end])[: len(_HEAD_START)]
            if not _HEAD_START.startswith(begun):
                raise Malformed("no status line") from None
            raise

    def read_line(self) -> bytes:
        """Read a line, its end included.

        Raises:
            EndedEarly, Malformed, OSError: as :meth:`read_head`.
        """
        return self._read_to(_LINE_END, 0, _MAX_LINE_BYTES)

    def read_into(self, view: memoryview) -> int:
        """Read what is there, no more than fits; 0 where the connection has ended.

        Raises:
            EndedEarly: TLS was cut off, without the word that ends it (RFC 9112, 9.8).
            OSError
        """
        left = self._end - self._start
        if not left:
            try:
                return self._connection.recv_into(view)
            except ssl.SSLEOFError:
                raise EndedEarly from None
        count = min(left, len(view))
        view[:count] = memoryview(self._buffer)[self._start : self._start + count]
        self._start += count
        return count

    def _read_to(self, end: re.Pattern[bytes], overlap: int, most: int) -> bytes:
        look_from = self._start
        while True:
            found = end.search(self._buffer, look_from, self._end)
            if found is not None:
                block = bytes(memoryview(self._buffer)[self._start : found.end()])
                self._start = found.end()
                return block
            look_from = max(self._start, self._end - overlap)
            look_from -= self._make_room(most)
            try:
                count = self._connection.recv_into(memoryview(self._buffer)[self._end :])
            except ssl.SSLEOFError:
                count = 0
            if not count:
                raise NoAnswer if self.is_empty else EndedEarly
            self._end += count

    def _make_room(self, most: int) -> int:
        """Make room for more; return by how much the bytes that are here moved."""
        moved = self._start
        if moved:
            left = self._end - moved
            self._buffer[:left] = self._buffer[moved : self._end]
            self._start, self._end = 0, left
        if self._end >= most:
            raise Malformed("a head or a line without an end")
        if self._end == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))
        return moved
