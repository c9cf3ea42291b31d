"""The frames of ``aws-chunked`` taken off a body.

A chunk is its length in hex, perhaps a signature, CRLF, its bytes, CRLF; the last one is empty, and
trailers with a checksum may follow it.
"""

from __future__ import annotations

from enum import Enum, auto

_LONGEST_LINE_BYTES = 4096


class _Wanted(Enum):
    LENGTH = auto()
    BYTES = auto()
    LINE_END = auto()
    TRAILERS = auto()


class ChunkedDecoder:
    """Takes a body in whatever pieces it came; gives back what it carries.

    Attributes:
        ended: whether the empty chunk was seen.
    """

    def __init__(self) -> None:
        self.ended = False
        self._wanted = _Wanted.LENGTH
        self._left_bytes = 0
        self._held = b""

    def feed(self, raw: bytes) -> bytes:
        """Return what the next piece of the body carries.

        Raises:
            ValueError: the body is not framed like this.
        """
        data = self._held + raw
        at = 0
        found: list[bytes] = []
        while at < len(data) and self._wanted is not _Wanted.TRAILERS:
            if self._wanted is _Wanted.BYTES:
                piece = data[at : at + self._left_bytes]
                found.append(piece)
                at += len(piece)
                self._left_bytes -= len(piece)
                if not self._left_bytes:
                    self._wanted = _Wanted.LINE_END
                continue
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                if len(data) - at > _LONGEST_LINE_BYTES:
                    raise ValueError("a chunk's line does not end")
                break
            self._take_line(data[at:line_end])
            at = line_end + 2
        self._held = b"" if self.ended else data[at:]
        return b"".join(found)

    def _take_line(self, line: bytes) -> None:
        if self._wanted is _Wanted.LINE_END:
            if line:
                raise ValueError("a chunk is longer than it said")
            self._wanted = _Wanted.LENGTH
            return
        self._left_bytes = int(line.partition(b";")[0], 16)
        if self._left_bytes:
            self._wanted = _Wanted.BYTES
        else:
            self._wanted = _Wanted.TRAILERS
            self.ended = True
